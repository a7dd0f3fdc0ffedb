# SPDX-License-Identifier: Apache-2.0
"""What a finished study leaves in its folder: the facts of its file, best.yml, its pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from harness.runs.atomic import together
from harness.show import picture
from harness.show.study_file import FORM, SweepFile, parsed
from harness.show.sweep_plots import lambda_figure, margins_figure
from harness.show.trials_plot import trials_figure
from harness.study import machine
from harness.study.choose import Score
from harness.study.recipe import Point, StudyRecipe, strength_of
from harness.study.rows import REPORT, SELECT
from harness.study.spec import Plan
from harness.study.worker import Cost


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
        "parameter": spec.recipe.strength.called if _is_varied(spec.recipe) else "merge",
        "metric": spec.metric,
        "higher_is_better": rising,
        "select": plan.names(SELECT),
        "report": plan.names(REPORT),
        "split": spec.split,
    }


def _is_varied(recipe: StudyRecipe) -> bool:
    return bool(recipe.axis or strength_of(recipe.method))


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
    return recipe_text(plan.spec.recipe, point, header)


def recipe_text(recipe: StudyRecipe, point: Point, header: Sequence[str]) -> str:
    """A recipe file with the point's values, below comment lines; the recipe's own are lost."""
    comments = "".join(f"# {_comment(line)}\n" for line in header)
    content = recipe.at(point)
    return comments + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)


def _comment(text: str) -> str:
    """A text as one line that a YAML reader skips: it refuses what can't be printed anywhere."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def divided(plan: Plan) -> list[str]:
    """A note where tasks were divided between selection and report."""
    if plan.spec.split is None:
        return []
    return [
        f"{', '.join(plan.names(SELECT))}: only the prompts that did not choose are reported; such "
        "figures can't be held against published ones"
    ]


def write(content: Mapping[str, Any], out: Path) -> list[Path]:
    """Write ``sweep.json`` or ``search.json`` last, and before it ``best.yml`` and the pictures.

    Args:
        content: of the JSON file, JSON types only.
        out: the folder.

    Returns:
        What was written; a picture that there is nothing for is removed.
    """
    study = parsed(content)
    if isinstance(study, SweepFile):
        figures = {"lambda.png": lambda_figure(study), "margins.png": margins_figure(study)}
    else:
        figures = {"trials.png": trials_figure(study)}
    file = f"{study.kind}.json"
    text = json.dumps(study.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    with together(out, ("best.yml", *figures, file)) as stage:
        (stage / file).write_text(text + "\n", encoding="utf-8")
        (stage / "best.yml").write_text(study.best_recipe, encoding="utf-8")
        for name, figure in figures.items():
            if figure is not None:
                picture.write(figure, stage / name)
    return [out / name for name in ("best.yml", *figures, file) if (out / name).exists()]
