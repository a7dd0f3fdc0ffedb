# SPDX-License-Identifier: Apache-2.0
"""``best.yml``: the recipe with what a sweep chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.show.naming import lambda_is
from harness.sweep.plan import Plan


def best_recipe(plan: Plan, content: dict[str, Any], out: Path) -> str:
    """The recipe with the chosen weight, ready for mergekit-yaml; says where the weight is from.

    Args:
        plan: what was asked for.
        content: of ``sweep.json``, so far.
        out: the folder that it will be in.
    """
    point = plan.points[content["chosen"]]
    score = content["points"][content["chosen"]]
    error = f" ± {score['stderr']:.3f}" if score["stderr"] is not None else ""
    share = "" if plan.split is None else f" ({100 * plan.split:g}% of their prompts)"
    header = [
        f"{lambda_is(point.label)}: {plan.metric} {score['score']:.3f}{error} on "
        f"{score['items']} rows of {', '.join(content['select'])}{share}, rule: {plan.rule}, "
        f"{len(plan.points)} weights tried.",
        f"Chosen {content['made']['date'][:10]} by: {plan.command}",
        f"Made of {plan.recipe.path}; its own text, comments and all, is in sweep.json.",
        f"To merge, in the folder where that was typed: mergekit-yaml {out / 'best.yml'} merged/",
    ]
    return plan.recipe.written(point.as_floats(), header)
