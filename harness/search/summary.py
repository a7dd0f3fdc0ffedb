# SPDX-License-Identifier: Apache-2.0
"""What a search found, as ``search.json`` holds it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.runs.results import find_run
from harness.search import output
from harness.search.driver import label_of
from harness.search.found import STATES, Found, notes, score_of, sweep_label
from harness.search.plan import Plan
from harness.search.storage import in_folder, masked
from harness.search.study import measured
from harness.show.study_file import FORM
from harness.sweep import machine, proof
from harness.sweep.rows import REPORT, SELECT
from harness.sweep.weights import Point

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def summary(plan: Plan, found: Found, out: Path, seconds: float) -> dict[str, Any]:
    """All of ``search.json``, JSON types only.

    Args:
        plan: what was asked for.
        found: what was measured.
        out: the folder.
        seconds: how long this run took.
    """
    spec, best, baseline = plan.spec, found.top[0], found.baseline
    swept = found.swept[sweep_label(baseline)]
    held_out = found.reported[sweep_label(baseline)]
    trials = [_trial(trial) for trial in found.trials if trial.state.name in STATES]
    content = {
        "form": FORM,
        "kind": "search",
        "made": _made(plan, found, seconds),
        "recipe": {"path": spec.recipe.path, "text": spec.recipe.text},
        "reward_model": spec.recipe.reward_model,
        "domain_models": list(spec.recipe.domain_models),
        "metric": spec.metric,
        "higher_is_better": found.rising,
        "select": [one.name for one in plan.rows if one.role == SELECT],
        "report": [one.name for one in plan.rows if one.role == REPORT],
        "split": spec.split,
        "sampler": plan.sampler,
        "pruning": plan.prune,
        "storage": masked(plan.storage or in_folder(out)),
        "space": found.space.as_dict(),
        "trials": trials,
        "top": [_top(trial, found) for trial in found.top],
        "baseline": {
            "label": baseline.label,
            "weights": baseline.as_floats(),
            "select": swept.score.value,
            "select_stderr": swept.score.stderr,
            "report": held_out.score.value,
            "report_stderr": held_out.score.stderr,
        },
        "proof": _proof(plan, found, plan.baseline[0]),
        "proof_baseline": _proof(plan, found, baseline),
        "notes": list(notes(plan, found, swept)),
    }
    content["best_recipe"] = output.best_recipe(plan, content, best, out)
    return content


def _made(plan: Plan, found: Found, seconds: float) -> dict[str, Any]:
    settings = plan.spec.settings
    tried = [measured(one) for one in found.trials if "model_bytes" in measured(one)]
    kept = [c for k in (*found.swept.values(), *found.reported.values()) for c in k.configs]
    merging = sum(c["merge_seconds"] for c in [*tried, *kept])
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": plan.command,
        "seconds": seconds,
        "scoring_seconds": sum(t["seconds"] - t["merge_seconds"] for t in tried)
        + sum(c["score_seconds"] for c in kept),
        "merging_seconds": merging,
        "peak_memory": {
            "resident": max(c["peak_memory"] for c in [*tried, *kept]),
            "model": max(c["model_bytes"] for c in [*tried, *kept]),
        },
        "versions": machine.versions(),
        "machine": machine.machine(),
        "model_args": dict(settings.model_args),
        "batch_size": str(settings.batch_size),
        "seed": plan.seed,
    }


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    about = measured(trial)
    return {
        "number": trial.number,
        "params": about.get("lambdas", {}),
        "score": trial.value,
        "stderr": about.get("stderr"),
        "state": STATES[trial.state.name],
        "seconds": about.get("seconds"),
        "share": about.get("share"),
        "scored": about.get("scored"),
    }


def _top(trial: FrozenTrial, found: Found) -> dict[str, Any]:
    held_out = found.reported[label_of(trial.number)].score
    return {
        "number": trial.number,
        "params": measured(trial)["lambdas"],
        "select": score_of(trial),
        "select_stderr": measured(trial)["stderr"],
        "report": held_out.value,
        "report_stderr": held_out.stderr,
    }


def _proof(plan: Plan, found: Found, against: Point) -> dict[str, Any]:
    """The best trial against a point of the plain sweep on the report rows."""
    label = label_of(found.top[0].number)
    return {
        "a": against.label,
        "b": label,
        **proof.compare_all(
            list(map(find_run, found.reported[sweep_label(against)].paths)),
            list(map(find_run, found.reported[label].paths)),
            plan.spec.metric,
            seed=plan.seed,
            include_path=plan.spec.include_path,
        ),
    }
