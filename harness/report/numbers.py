# SPDX-License-Identifier: Apache-2.0
"""Numbers as they are read; more of them in `harness.sweep.table`."""

from __future__ import annotations

from harness.sweep.table import scored


def score(value: float | None, stderr: float | None = None) -> str:
    """A score with its standard error, where it has them.

    >>> score(0.4, 0.0123), score(0.4), score(None)
    ('0.400 ±0.012', '0.400', '-')
    """
    return "-" if value is None else scored(value, stderr)


def interval(low: float, high: float) -> str:
    """The ends of an interval of differences.

    >>> interval(-0.013, 0.032)
    '-0.013 to +0.032'
    """
    return f"{low:+.3f} to {high:+.3f}"


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
