# SPDX-License-Identifier: Apache-2.0
"""The trials of a search by their score, and what a reader must know of the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.show.naming import lambda_is
from harness.study.choose import Score
from harness.study.facts import divided
from harness.study.measurement import Measurement
from harness.study.point import Point
from harness.study.space import Space
from harness.study.spec import Plan
from harness.study.trial_loop import label_of
from harness.study.trials import measured

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# How trials that are over are called, by Optuna's name of their state.
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
# Means of several tasks that are equal may differ beyond.
_DIGITS = 9


@dataclass(frozen=True)
class Searched:
    """What a search measured.

    Attributes:
        trials: all of the study.
        top: the best of them, best first.
        space: that they are of.
        swept: the plain sweep on the selection rows, by what its points are called.
        reported: on the report rows, by what trials and points are called.
        baseline: the sweep's best point.
        rising: whether a larger score is better.
    """

    trials: Sequence[FrozenTrial]
    top: Sequence[FrozenTrial]
    space: Space
    swept: Mapping[str, Measurement]
    reported: Mapping[str, Measurement]
    baseline: Point
    rising: bool


def ranked(trials: Sequence[FrozenTrial], rising: bool) -> list[FrozenTrial]:
    """The complete trials, the best selection score first; of equal ones the earlier first."""
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    sign = -1 if rising else 1
    return sorted(complete, key=lambda trial: round(sign * score_of(trial).value, _DIGITS))


def score_of(trial: FrozenTrial) -> Score:
    """A complete trial's selection score."""
    assert trial.value is not None
    return Score(trial.value, measured(trial)["stderr"], measured(trial)["items"])


def notes(plan: Plan, searched: Searched) -> Iterator[str]:
    """What a reader must know.

    Args:
        plan: what was asked for.
        searched: what was measured.
    """
    best, score = searched.top[0], score_of(searched.top[0])
    called = lambda_is(searched.baseline.label)
    ahead = score.value - searched.swept[called].score.value
    ahead = ahead if searched.rising else -ahead
    name = label_of(best.number)
    if ahead < 0:
        yield (
            f"on the selection rows the plain sweep's {called} is better than "
            f"the best trial, {name}: search longer, or take the sweep's"
        )
    elif ahead <= (score.stderr or 0.0):
        yield (
            f"on the selection rows {name} is within one standard error of the plain sweep's "
            f"{called}: the choice among them is mostly chance"
        )
    failed = [trial for trial in searched.trials if trial.state.name == "FAIL"]
    if failed:
        why = measured(failed[0]).get("error", "its process died")
        yield f"trials that failed: {len(failed)}, the first with: {why}"
    others = sum(trial.state.name not in STATES for trial in searched.trials)
    if others:
        yield (
            f"{others} trials are still being run elsewhere: run the command again when they are "
            "done"
        )
    yield from divided(plan)
