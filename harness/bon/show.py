# SPDX-License-Identifier: Apache-2.0
"""The table and the plot of accuracy against N."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from harness.bon.curves import BASELINES, Curve, Mean, TaskCurves
from harness.show import picture
from harness.show.numbers import score
from harness.show.text_table import aligned

STYLES: dict[str, Any] = {
    "oracle": "--",
    "majority": "-.",
    "longest": (0, (6, 2, 1, 2, 1, 2)),
    "random": ":",
}


def table(task: str, curves: TaskCurves) -> str:
    """Accuracy ± standard error, a line for each model and baseline, a column for each N."""
    weighted = {f"{label}, weighted votes": curve for label, curve in curves.weighted.items()}
    lines = {**curves.models, **weighted, **_baselines(curves)}
    sizes = sorted({size for curve in lines.values() for size in curve})
    cells = [[f"{task} ({curves.questions} questions)", *(f"N={size}" for size in sizes)]]
    for name, curve in lines.items():
        cells.append([name, *(_cell(curve.get(size)) for size in sizes)])
    return "\n".join(aligned(cells))


def _baselines(curves: TaskCurves) -> dict[str, Curve]:
    return {name: curves.baselines[name] for name in BASELINES if name in curves.baselines}


def _cell(point: Mean | None) -> str:
    if point is None:
        return "-"
    return score(point.value, None if math.isnan(point.error) else point.error)


def plot(tasks: dict[str, TaskCurves], path: Path) -> None:
    """Draw one panel a task: the models' choices with bands of one standard error, and baselines.

    A model's rewards as weights of a vote are a broken line in its colour.

    Args:
        tasks: what `read_curves` gives.
        path: the file to write; its ending says the format (.png, .pdf, .svg).

    Raises:
        HarnessError: see `picture.check_format`; or the file can't be written.
    """
    picture.check_format(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.8 + 4.6 * len(tasks), 4.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)
    labels = list(dict.fromkeys(label for curves in tasks.values() for label in curves.models))
    for axes, (task, curves) in zip(panels[0], tasks.items(), strict=True):
        for label, curve in curves.models.items():
            color = f"C{labels.index(label)}"
            _draw(axes, curve, label=label, color=color, marker="o", markersize=4)
            if weighted := curves.weighted.get(label):
                style = {"color": color, "marker": "v", "markersize": 4, "linestyle": "--"}
                _draw(axes, weighted, label=f"{label}, weighted votes", **style)
        for name, curve in _baselines(curves).items():
            _draw(axes, curve, label=name, color="grey", linestyle=STYLES[name], linewidth=1.2)
        sizes = sorted({size for curve in curves.models.values() for size in curve})
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set(xlabel="N, candidates to choose from", ylabel="accuracy (± s.e.)")
        axes.set_title(f"{task}, {curves.questions} questions")
    entries: dict[str, Any] = {}
    for axes in panels[0]:
        handles, names = axes.get_legend_handles_labels()
        entries.update(zip(names, handles, strict=True))
    figure.legend(list(entries.values()), list(entries), loc="outside right center", frameon=False)
    picture.write(figure, path)


def _draw(axes: Any, curve: Curve, **style: Any) -> None:
    points = list(curve.values())
    values, errors = [point.value for point in points], [point.error for point in points]
    picture.band(axes, list(curve), values, errors, **style)
