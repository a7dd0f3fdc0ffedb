# SPDX-License-Identifier: Apache-2.0
"""The files of a finished study: ``sweep.json`` or ``search.json``, ``best.yml`` and pictures."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(content: Mapping[str, Any], out: Path) -> list[Path]:
    """Write each whole, the study's own file last.

    Args:
        content: of that file.
        out: the folder.

    Returns:
        What was written.
    """
    from harness.sweep import plots

    last = f"{content['kind']}.json"
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    pictures = _pictures(content)
    stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=out))
    try:
        (stage / last).write_text(text + "\n", encoding="utf-8")
        (stage / "best.yml").write_text(content["best_recipe"], encoding="utf-8")
        for name, figure in pictures.items():
            if figure is not None:
                plots.write(figure, stage / name)
        written = []
        for name in ("best.yml", *pictures, last):
            if (stage / name).exists():
                written.append((stage / name).replace(out / name))
            else:
                (out / name).unlink(missing_ok=True)
        return written
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _pictures(content: Mapping[str, Any]) -> dict[str, Figure | None]:
    """Each file's name and its picture; None where there is nothing to draw."""
    if content["kind"] == "search":
        from harness.search.plots import trials_figure

        return {"trials.png": trials_figure(content)}
    from harness.sweep.plots import lambda_figure, margins_figure

    return {"lambda.png": lambda_figure(content), "margins.png": margins_figure(content)}
