# SPDX-License-Identifier: Apache-2.0
"""A comparison as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.compare.comparison import Flip, RunComparison
from harness.compare.paired import PairedStatistics
from harness.runs.atomic import write_text
from harness.runs.results import Run
from harness.show import paired_table

_RUN_KEYS = ("date", "git_hash", "lm_eval_version", "transformers_version", "model_name")
_STATISTICS = tuple(PairedStatistics.model_fields)
_CONFIG_KEYS = ("model", "model_args", "model_dtype", "batch_size", "device", "limit")


def text(compared: RunComparison, a: Run, b: Run) -> str:
    """The table, with what one must know to read it."""
    return "\n".join(
        [*_head(compared, a, b), "", *paired_table.lines(compared), "", *_foot(compared)]
    )


def _head(compared: RunComparison, a: Run, b: Run) -> Iterator[str]:
    for side, run, kinds in zip("AB", (a, b), compared.kinds, strict=True):
        model = " ".join(filter(None, map(_plain, _described(run)["model"].values())))
        kind = f", {', '.join(kinds)}" if kinds else ""
        yield f"{side}: {run.path}{kind}{f' ({model})' if model else ''}"
    better = "" if compared.higher_is_better else ", lower is better"
    yield f"{compared.metric}{better}; difference = B − A"


def _plain(value: Any) -> str:
    """A model's arguments as they are typed: ``pretrained=out,dtype=bfloat16``."""
    if isinstance(value, dict):
        return ",".join(f"{key}={given}" for key, given in value.items())
    return str(value or "")


def _foot(compared: RunComparison) -> Iterator[str]:
    yield from paired_table.how_to_read(compared)
    if compared.metric.partition(",")[0] == "margin":
        yield "Note: each model's margins are in its own unit of reward; scale alone can differ."
    for note in compared.notes:
        yield f"Note: {note}"


def flips(compared: RunComparison, most: int) -> Iterator[str]:
    """The items on which the models differ: of each task the `most` whose margin changed most."""
    for task, differ in compared.flips.items():
        if differ:
            yield f"{task}: {len(differ)} items differ{', of them:' if len(differ) > most else ''}"
        for flip in sorted(differ, key=_change, reverse=True)[:most]:
            margins = ""
            if flip.margin_a is not None and flip.margin_b is not None:
                margins = f"  margin {flip.margin_a:+.3f} -> {flip.margin_b:+.3f}"
            yield f"  {flip.doc_id:>5}  {flip.a:g} -> {flip.b:g}{margins}  {flip.prompt}"


def _change(flip: Flip) -> float:
    if flip.margin_a is None or flip.margin_b is None:
        return abs(flip.b - flip.a)
    return abs(flip.margin_b - flip.margin_a)


def as_json(compared: RunComparison, a: Run, b: Run) -> dict[str, Any]:
    """Everything in the table and behind it, JSON types only."""
    content = compared.as_dict()
    return {
        "dogerm_version": version("dogerm"),
        "a": _described(a),
        "b": _described(b),
        **content,
        "sections": [_nested(one, compared.higher_is_better) for one in content["sections"]],
    }


def _nested(section: dict[str, Any], rising: bool) -> dict[str, Any]:
    """A section with its statistics apart, where a change of value is not yet a gain or a loss."""
    changes = ("risen", "fallen") if rising else ("fallen", "risen")
    statistics = {
        **{key: section[key] for key in _STATISTICS},
        **{change: section[key] for change, key in zip(changes, ("gained", "lost"), strict=True)},
    }
    rest = {key: value for key, value in section.items() if key not in _STATISTICS}
    return {**rest, "comparison": statistics}


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write the file, complete or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _described(run: Run) -> dict[str, Any]:
    """Which files and which model; the model as its newest results file has it."""
    newest = list(run.results.values())[-1] if run.results else {}
    config = newest.get("config", {})
    return {
        "path": str(run.path),
        "samples": {task: str(file) for task, file in run.leaves.items()},
        "model": {key: config.get(key) for key in ("model", "model_args")},
        "run": {key: newest.get(key) for key in _RUN_KEYS}
        | {key: config.get(key) for key in _CONFIG_KEYS},
    }
