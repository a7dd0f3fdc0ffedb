# SPDX-License-Identifier: Apache-2.0
"""The files of a finished sweep: ``sweep.json``, ``best.yml`` and the pictures."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness.sweep.naming import lambda_is
from harness.sweep.plan import Plan

FILES = ("best.yml", "lambda.png", "margins.png", "sweep.json")


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


def write(content: dict[str, Any], out: Path) -> list[Path]:
    """Write ``sweep.json``, ``best.yml`` and the pictures, each whole, sweep.json last.

    Returns:
        What was written.
    """
    from harness.sweep import plots

    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=out))
    try:
        (stage / "sweep.json").write_text(text + "\n", encoding="utf-8")
        (stage / "best.yml").write_text(content["best_recipe"], encoding="utf-8")
        for name, figure in (
            ("lambda.png", plots.lambda_figure(content)),
            ("margins.png", plots.margins_figure(content)),
        ):
            if figure is not None:
                plots.write(figure, stage / name)
        for name in FILES:
            if (stage / name).exists():
                (stage / name).replace(out / name)
            else:
                (out / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return [out / name for name in FILES if (out / name).exists()]
