# SPDX-License-Identifier: Apache-2.0
"""What a race leaves: the points that were measured in full, and those that it dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.study import racing
from harness.study.measuring import Measurement
from harness.study.recipe import Point
from harness.study.worker import Cost


def where(point: Point) -> dict[str, Any]:
    """Which point it is, and where a plot shows it."""
    placed = {
        "label": point.label,
        "weights": list(point.strengths),
        "total": point.distance,
    }
    return placed if len(point.values) == 1 else {**placed, "params": dict(point.values)}


def seconds_of(costs: Sequence[Cost]) -> dict[str, float]:
    """How long merging and scoring took."""
    return {
        "merge": sum(cost.merge_seconds for cost in costs),
        "score": sum(cost.score_seconds for cost in costs),
    }


@dataclass(frozen=True)
class Dropped:
    """A point that was not measured on all rows.

    Attributes:
        point: which merge.
        why: `racing.SIGNIFICANT`, or `racing.HALVING`: only to save rows.
        rows: how many it was measured on.
        score: on these alone.
        stderr: of that; None of a single unit.
        costs: of all that was measured of it.
    """

    point: Point
    why: str
    rows: int
    score: float
    stderr: float | None
    costs: tuple[Cost, ...]

    def as_dict(self) -> dict[str, Any]:
        """What a sweep's file says of it."""
        return {
            **where(self.point),
            "why": self.why,
            "rows": self.rows,
            "score": self.score,
            "stderr": self.stderr,
            "seconds": seconds_of(self.costs),
        }


@dataclass(frozen=True)
class Raced:
    """What a race measured.

    Attributes:
        measured: the points that were measured in full, in their order.
        dropped: the others, in theirs.
        costs: of parts of those that were measured in full, by label.
        rows: how many there are.
    """

    measured: list[Measurement]
    dropped: list[Dropped]
    costs: dict[str, list[Cost]]
    rows: int

    @property
    def share(self) -> float:
        """How much of points times rows was measured."""
        of_dropped = sum(one.rows for one in self.dropped)
        whole = self.rows * (len(self.measured) + len(self.dropped))
        return (self.rows * len(self.measured) + of_dropped) / whole

    def as_dict(self, rule: str) -> dict[str, Any]:
        """What a sweep's file says of it."""
        return {
            "rule": rule,
            "alpha": racing.ALPHA,
            "rows": self.rows,
            "share": self.share,
            "dropped": [one.as_dict() for one in self.dropped],
        }
