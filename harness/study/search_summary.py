# SPDX-License-Identifier: Apache-2.0
"""The trials of a search by their score, and what it found as ``search.json`` holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.show.naming import lambda_is
from harness.study import output, proof
from harness.study.choose import Score
from harness.study.measuring import Measurement
from harness.study.method_space import MethodSpace
from harness.study.recipe import Point
from harness.study.space import Space
from harness.study.storage import in_folder, masked
from harness.study.trial_loop import label_of
from harness.study.trials import measured
from harness.study.worker import Cost

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from harness.study.search import SearchPlan


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
    space: Space | MethodSpace
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


def _notes(plan: SearchPlan, searched: Searched) -> Iterator[str]:
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
    yield from output.divided(plan)


def summary(plan: SearchPlan, searched: Searched, out: Path, seconds: float) -> dict[str, Any]:
    """All of ``search.json``, JSON types only.

    Args:
        plan: what was asked for.
        searched: what was measured.
        out: the folder.
        seconds: how long this run took.
    """
    best, baseline = searched.top[0], searched.baseline
    swept = searched.swept[lambda_is(baseline.label)].score
    held_out = searched.reported[lambda_is(baseline.label)].score
    kept = (*searched.swept.values(), *searched.reported.values())
    tried = [measured(one) for one in searched.trials if "model_bytes" in measured(one)]
    costs = [*map(Cost.of, tried), *(cost for one in kept for cost in one.costs)]
    content = {
        **output.facts("search", plan, costs, seconds, searched.rising),
        "sampler": plan.sampler,
        "pruning": plan.prune,
        "storage": masked(plan.storage or in_folder(out)),
        "space": searched.space.as_dict(),
        "trials": [_trial(one) for one in searched.trials if one.state.name in STATES],
        "top": [_top(trial, searched) for trial in searched.top],
        "baseline": {
            "label": baseline.label,
            "weights": list(baseline.strengths),
            "select": swept.value,
            "select_stderr": swept.stderr,
            "report": held_out.value,
            "report_stderr": held_out.stderr,
        },
        "proof": _proof(plan, searched, plan.baseline[0]),
        "proof_baseline": _proof(plan, searched, baseline),
        "notes": list(_notes(plan, searched)),
    }
    called = label_of(best.number)
    tried_all = f"the best of {len(content['trials'])} trials ({plan.sampler}, seed {plan.seed})"
    chosen = called, searched.reported[called].point, score_of(best)
    content["best_recipe"] = output.best_recipe(plan, content, chosen, f"; {tried_all}", out)
    return content


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    about = measured(trial)
    return {
        "number": trial.number,
        "params": about.get("params", {}),
        "score": trial.value,
        "stderr": about.get("stderr"),
        "state": STATES[trial.state.name],
        "seconds": about.get("seconds"),
        "share": about.get("share"),
        "scored": about.get("scored"),
    }


def _top(trial: FrozenTrial, searched: Searched) -> dict[str, Any]:
    held_out = searched.reported[label_of(trial.number)].score
    return {
        "number": trial.number,
        "params": measured(trial)["params"],
        "select": score_of(trial).value,
        "select_stderr": score_of(trial).stderr,
        "report": held_out.value,
        "report_stderr": held_out.stderr,
    }


def _proof(plan: SearchPlan, searched: Searched, against: Point) -> dict[str, Any]:
    """The best trial against a point of the plain sweep on the report rows."""
    label = label_of(searched.top[0].number)
    return {
        "a": against.label,
        "b": label,
        **proof.compare_all(
            searched.reported[lambda_is(against.label)].runs,
            searched.reported[label].runs,
            plan.spec.metric,
            seed=plan.seed,
            include_path=plan.spec.include_path,
        ),
    }
