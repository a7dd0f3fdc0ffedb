# SPDX-License-Identifier: Apache-2.0
"""``best.yml``: the recipe with what a search chose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.search.driver import label_of
from harness.search.found import score_of
from harness.search.plan import Plan
from harness.search.study import measured

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def best_recipe(plan: Plan, content: Mapping[str, Any], best: FrozenTrial, out: Path) -> str:
    """The recipe with the best trial's weights, ready for mergekit-yaml; says where they are from.

    Args:
        plan: what was asked for.
        content: of ``search.json``, so far.
        best: the trial.
        out: the folder that it will be in.
    """
    about = measured(best)
    error = f" ± {about['stderr']:.3f}" if about["stderr"] is not None else ""
    split = plan.spec.split
    share = "" if split is None else f" ({100 * split:g}% of their prompts)"
    tried = f"the best of {len(content['trials'])} trials ({plan.sampler}, seed {plan.seed})"
    header = [
        f"{label_of(best.number)}: {plan.spec.metric} {score_of(best):.3f}{error} on "
        f"{about['items']} rows of {', '.join(content['select'])}{share}; {tried}.",
        f"Chosen {content['made']['date'][:10]} by: {plan.command}",
        f"Made of {plan.spec.recipe.path}; its own text, comments and all, is in search.json.",
        f"To merge, in the folder where that was typed: mergekit-yaml {out / 'best.yml'} merged/",
    ]
    return plan.spec.recipe.written(about["weights"], header)
