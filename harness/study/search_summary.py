# SPDX-License-Identifier: Apache-2.0
"""What a search found, as ``search.json`` holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.show.naming import lambda_is
from harness.study import proof
from harness.study.facts import best_recipe, facts
from harness.study.measurement import Cost
from harness.study.point import Point
from harness.study.ranking import STATES, Searched, notes, score_of
from harness.study.storage import in_folder, masked
from harness.study.trial_loop import label_of
from harness.study.trials import measured

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from harness.study.search import SearchPlan


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
        **facts("search", plan, costs, seconds, searched.rising),
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
        "notes": list(notes(plan, searched)),
    }
    called = label_of(best.number)
    tried_all = f"the best of {len(content['trials'])} trials ({plan.sampler}, seed {plan.seed})"
    chosen = called, searched.reported[called].point, score_of(best)
    content["best_recipe"] = best_recipe(plan, content, chosen, f"; {tried_all}", out)
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
