# SPDX-License-Identifier: Apache-2.0
"""The facts that a sweep's and a search's file both have: of the run, the recipe and the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.show.study_file import FORM
from harness.study import machine
from harness.study.choose import Score
from harness.study.measurement import Cost
from harness.study.point import Point
from harness.study.rows import REPORT, SELECT
from harness.study.spec import Plan


def facts(
    kind: str, plan: Plan, costs: Sequence[Cost], seconds: float, rising: bool
) -> dict[str, Any]:
    """What a study's file begins with, JSON types only.

    Args:
        kind: ``sweep`` or ``search``.
        plan: what was asked for.
        costs: of every measurement, earlier runs' included.
        seconds: how long this run took.
        rising: whether a larger score is better.
    """
    spec = plan.spec
    return {
        "form": FORM,
        "kind": kind,
        "made": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": plan.command,
            "seconds": seconds,
            "scoring_seconds": sum(cost.score_seconds for cost in costs),
            "merging_seconds": sum(cost.merge_seconds for cost in costs),
            "peak_memory": {
                "resident": max(cost.peak_memory for cost in costs),
                "model": max(cost.model_bytes for cost in costs),
            },
            "versions": machine.versions(),
            "machine": machine.machine(),
            "model_args": dict(spec.settings.model_args),
            "batch_size": str(spec.settings.batch_size),
            "seed": plan.seed,
        },
        "recipe": {"path": spec.recipe.path, "text": spec.recipe.text},
        "reward_model": spec.recipe.reward_model,
        "domain_models": list(spec.recipe.domain_models),
        "metric": spec.metric,
        "higher_is_better": rising,
        "select": plan.names(SELECT),
        "report": plan.names(REPORT),
        "split": spec.split,
    }


def best_recipe(
    plan: Plan,
    content: Mapping[str, Any],
    best: tuple[str, Point, Score],
    how: str,
    out: Path,
) -> str:
    """The recipe at the chosen point, ready for mergekit-yaml; says where the point is from.

    Args:
        plan: what was asked for.
        content: of the study's file, so far.
        best: what the point is called, the point, and its score on the selection rows.
        how: it was chosen; ends the first sentence.
        out: the folder that it will be in.
    """
    called, point, score = best
    split = plan.spec.split
    error = f" ± {score.stderr:.3f}" if score.stderr is not None else ""
    share = "" if split is None else f" ({100 * split:g}% of their prompts)"
    header = [
        f"{called}: {plan.spec.metric} {score.value:.3f}{error} on {score.items} rows of "
        f"{', '.join(content['select'])}{share}{how}.",
        f"Chosen {content['made']['date'][:10]} by: {plan.command}",
        f"Made of {plan.spec.recipe.path}; its own text, comments and all, is in "
        f"{content['kind']}.json.",
        f"To merge, in the folder where that was typed: mergekit-yaml {out / 'best.yml'} merged/",
    ]
    return plan.spec.recipe.written(point, header)


def divided(plan: Plan) -> list[str]:
    """A note where tasks were divided between selection and report."""
    if plan.spec.split is None:
        return []
    return [
        f"{', '.join(plan.names(SELECT))}: only the prompts that did not choose are reported; such "
        "figures can't be held against published ones"
    ]
