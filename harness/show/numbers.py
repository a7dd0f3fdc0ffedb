# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.show.study_file import Making


def score(value: float | None, stderr: float | None = None) -> str:
    """A score with its standard error, where it has them.

    >>> score(0.4, 0.0123), score(0.4), score(None)
    ('0.400 ±0.012', '0.400', '-')
    """
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ±{stderr:.3f}" if stderr is not None else "")


def interval(low: float, high: float) -> str:
    """The ends of an interval of differences, in a sentence.

    >>> interval(-0.013, 0.032)
    '-0.013 to +0.032'
    """
    return f"{low:+.3f} to {high:+.3f}"


def ends(low: float, high: float) -> str:
    """The ends of an interval of differences, in a table.

    >>> ends(-0.013, 0.032)
    '[-0.013, +0.032]'
    """
    return f"[{low:+.3f}, {high:+.3f}]"


def p_value(value: float) -> str:
    """A p-value with three digits, which are enough to judge by.

    >>> p_value(0.25), p_value(0.0004)
    ('0.250', '<0.001')
    """
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


def size(count: int) -> str:
    """Bytes as people read them.

    >>> size(1_500_000_000)
    '1.5 GB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Seconds as people read them.

    >>> duration(61.04), duration(1234.5), duration(7384)
    ('61.0 s', '20 min 34 s', '2 h 3 min')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def times(made: Making) -> list[str]:
    """How long a sweep or search took, and what of it."""
    told = [duration(made.seconds)]
    if made.scoring_seconds is not None and made.merging_seconds is not None:
        told.append(f"scoring {duration(made.scoring_seconds)}")
        told.append(f"merging {duration(made.merging_seconds)}, earlier runs of it included")
    return told


def cost(made: Making) -> str:
    """Time and memory of a sweep or search, in a line."""
    memory = made.peak_memory
    return (
        f"Time: {'; '.join(times(made))}. Peak memory: {size(memory.resident)}; the loaded model "
        f"alone: {size(memory.model)}."
    )
