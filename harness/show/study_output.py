# SPDX-License-Identifier: Apache-2.0
"""The files of a finished sweep or search: all of one study at any time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.runs.atomic import together
from harness.show import picture
from harness.show.study_file import SweepFile, parsed
from harness.show.sweep_plots import lambda_figure, margins_figure
from harness.show.trials_plot import trials_figure


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
