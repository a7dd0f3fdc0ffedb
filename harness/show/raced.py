# SPDX-License-Identifier: Apache-2.0
"""How the points that a race dropped are told and drawn: never like those measured in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.show.study_file import DroppedPoint, SweepFile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Why -> marker, and what the legend says.
_LOOKS = {
    "significant": ("x", "dropped: shown not to be the best"),
    "halving": ("+", "dropped: not among the best so far"),
}


def mark(point: DroppedPoint, sweep: SweepFile) -> str:
    """What a table says of a dropped point beside its score."""
    assert sweep.race is not None
    why = "" if point.why == "significant" else ", to save rows"
    return f"dropped after {point.rows:,} of {sweep.race.rows:,} rows{why}"


def left(sweep: SweepFile) -> str:
    """Of which merges a sentence speaks, where a race has dropped some; else nothing."""
    return " that was left in the race" if sweep.race and sweep.race.dropped else ""


def sentence(sweep: SweepFile) -> str | None:
    """What the race saved and what it risked; None without one."""
    race = sweep.race
    if race is None:
        return None
    count = len(race.dropped)
    told = (
        f"A race: {count} of {len(sweep.tried)} values were dropped early, and {race.share:.0%} of "
        "values times rows were scored. The score of a dropped value is of the rows that it saw, "
        "and nothing is chosen by it. "
    )
    if race.rule == "significant":
        return told + (
            f"The value with the best score on all rows is dropped with a chance of at most "
            f"{race.alpha:.0%}."
        )
    saved = sum(one.why == "halving" for one in race.dropped)
    return told + (
        f"{saved} of them were only not among the best so far: nothing bounds the chance that the "
        "best was one."
    )


def crosses(
    axes: Axes, sweep: SweepFile, at: Callable[[DroppedPoint], tuple[float, float]]
) -> None:
    """A cross for each dropped point, where `at` says."""
    for why, (marker, label) in _LOOKS.items():
        places = [at(one) for one in sweep.dropped if one.why == why]
        if not places:
            continue
        across, up = zip(*places, strict=True)
        style: dict[str, Any] = {"color": "#767676", "markersize": 7, "markeredgewidth": 1.6}
        axes.plot(across, up, marker, label=f"{label} (score of its rows)", zorder=3, **style)
