"""What a run has to show: figures.json, and figures.png with the curves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harness.models.load.processes import is_first
from harness.runs.atomic import write_text
from harness.training.balance import length_matched, longer_is_chosen
from harness.training.folder import FIGURES, FinishedError
from harness.training.gather import Part


def pair_figures(
    rows: Sequence[Mapping[str, str]], chosen: Sequence[float], rejected: Sequence[float]
) -> dict[str, float | int | None]:
    """Accuracy of rewards on preference pairs, plain and where length does not help.

    A tie is wrong. Standard errors are sqrt(p (1 - p) / n); None where there are no pairs.
    """
    right = [one > other for one, other in zip(chosen, rejected, strict=True)]
    matched = length_matched(rows)
    figures: dict[str, float | int | None] = {"pairs": len(rows)}
    figures.update(_share("accuracy", right))
    figures["longer_is_chosen"] = longer_is_chosen(rows) if rows else None
    figures["matched_pairs"] = len(matched)
    figures.update(_share("matched_accuracy", [right[i] for i in matched]))
    return figures


def part_figures(
    validation: Sequence[Part], chosen: Sequence[float], rejected: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """`pair_figures` of `all` pairs, and of each part's where it has any, by its name."""
    figures = {"all": pair_figures([row for p in validation for row in p.rows], chosen, rejected)}
    start = 0
    for part in validation:
        here = slice(start, start + len(part.rows))
        if part.rows:
            figures[part.name] = pair_figures(part.rows, chosen[here], rejected[here])
        start = here.stop
    return figures


def _share(name: str, right: Sequence[bool]) -> dict[str, float | int | None]:
    if not right:
        return {name: None, f"{name}_stderr": None}
    share = sum(right) / len(right)
    return {name: share, f"{name}_stderr": math.sqrt(share * (1 - share) / len(right))}


# What is drawn of the trainer's log, where it has it; `eval_...` is validation's.
_CURVES = (
    "loss",
    "reward_loss",
    "policy_loss",
    "imitation_loss",
    "accuracy",
    "implicit_accuracy",
)


def curves(history: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """The trainer's log as curves of (step, value): losses, and what validation said."""
    points: dict[str, list[tuple[int, float]]] = {}
    for entry in history:
        for key in _CURVES:
            for logged, when in ((key, "training"), (f"eval_{key}", "validation")):
                if logged in entry:
                    name = f"{when} {key.replace('_', ' ')}"
                    points.setdefault(name, []).append((int(entry["step"]), float(entry[logged])))
    return points


def write_figures(
    folder: Path, figures: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Write `figures.png` (training and validation over the steps), and `figures.json` last."""
    drawn = curves(history)
    content = {**figures, "curves": drawn}
    text = json.dumps(content, indent=1)
    _draw(folder / "figures.png", drawn)
    write_text(folder / FIGURES, text + "\n")


def read_figures(folder: Path) -> dict[str, Any]:
    """Those of a finished run."""
    figures: dict[str, Any] = json.loads((folder / FIGURES).read_text("utf-8"))
    return figures


def trained(run: Callable[[], dict[str, Any]], folder: Path, called: object) -> dict[str, Any]:
    """The figures of a run, which it wrote earlier if it is finished; then that is told.

    Args:
        run: the training.
        folder: its.
        called: what it is called in messages.

    Raises:
        HarnessError: the run's own.
    """
    try:
        return run()
    except FinishedError:
        if is_first():
            click.echo(f"{called}: finished already", err=True)
        return read_figures(folder)


def _draw(path: Path, drawn: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    from matplotlib.figure import Figure  # without pyplot: no display and no global state

    kinds = [kind for kind in ("loss", "accuracy") if any(name.endswith(kind) for name in drawn)]
    figure = Figure(figsize=(5 * max(1, len(kinds)), 3.2), layout="constrained")
    axes = figure.subplots(1, max(1, len(kinds)), squeeze=False)[0]
    for axis, kind in zip(axes, kinds, strict=False):
        for name, points in drawn.items():
            if name.endswith(kind):
                mark = "o-" if name.startswith("validation") else "-"
                axis.plot(*zip(*points, strict=True), mark, markersize=4, label=name)
        axis.set_xlabel("step")
        axis.set_ylabel(kind)
        axis.legend()
    figure.savefig(path, dpi=120)
