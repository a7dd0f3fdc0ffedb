# SPDX-License-Identifier: Apache-2.0
"""What a search has measured, before it is summed up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.search.driver import label_of
from harness.search.kept import Kept
from harness.search.plan import Plan
from harness.search.space import Space
from harness.search.study import measured
from harness.show.naming import lambda_is
from harness.sweep.rows import SELECT
from harness.sweep.weights import Point

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# How trials that are over are called, by Optuna's name of their state.
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
# Means of several tasks that are equal may differ beyond.
_DIGITS = 9


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        trials: all of the study.
        top: the best of them, best first.
        space: that they are of.
        swept: the plain sweep on the selection rows, by job.
        reported: on the report rows, by job.
        baseline: the sweep's best point.
        rising: whether a larger score is better.
    """

    trials: Sequence[FrozenTrial]
    top: Sequence[FrozenTrial]
    space: Space
    swept: Mapping[str, Kept]
    reported: Mapping[str, Kept]
    baseline: Point
    rising: bool


def ranked(trials: Sequence[FrozenTrial], rising: bool) -> list[FrozenTrial]:
    """The complete trials, the best selection score first; of equal ones the earlier first."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    sign = -1 if rising else 1
    return sorted(complete, key=lambda trial: round(sign * score_of(trial), _DIGITS))


def score_of(trial: FrozenTrial) -> float:
    """A complete trial's selection score."""
    assert trial.value is not None
    return trial.value


def sweep_label(point: Point) -> str:
    """How a point of the plain sweep is called."""
    return lambda_is(point.label)


def notes(plan: Plan, found: Found, swept: Kept) -> Iterator[str]:
    """What a reader must know.

    Args:
        plan: what was asked for.
        found: what was measured.
        swept: the baseline on the selection rows.
    """
    best, score = found.top[0], score_of(found.top[0])
    ahead = score - swept.score.value if found.rising else swept.score.value - score
    name = label_of(best.number)
    if ahead < 0:
        yield (
            f"on the selection rows the plain sweep's {sweep_label(found.baseline)} is better than "
            f"the best trial, {name}: search longer, or take the sweep's"
        )
    elif ahead <= (measured(best)["stderr"] or 0.0):
        yield (
            f"on the selection rows {name} is within one standard error of the plain sweep's "
            f"{sweep_label(found.baseline)}: the choice among them is mostly chance"
        )
    failed = [trial for trial in found.trials if trial.state.name == "FAIL"]
    if failed:
        why = measured(failed[0]).get("error", "its process died")
        yield f"trials that failed: {len(failed)}, the first with: {why}"
    others = sum(trial.state.name not in STATES for trial in found.trials)
    if others:
        yield (
            f"{others} trials are still being run elsewhere: run the command again when they are "
            "done"
        )
    if plan.spec.split is not None:
        names = ", ".join(rows.name for rows in plan.rows if rows.role == SELECT)
        yield (
            f"{names}: only the prompts that did not choose are reported; such figures can't be "
            "held against published ones"
        )
