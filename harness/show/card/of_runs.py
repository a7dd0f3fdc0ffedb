# SPDX-License-Identifier: Apache-2.0
"""The figures in lm-eval's own results files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs.results import DATED, read_json
from harness.show.blocks import Block, Code, Text
from harness.show.card.benchmarks import Benchmark, benchmarks
from harness.show.card.figures import Figures, Score

# What describes the data or another way to choose, and not the model.
_ABOUT_DATA = re.compile(r"(margin|ties|longer|truncated|random|(oracle|longest|majority)@\d+)")


@dataclass(frozen=True)
class ResultsFile:
    """A results file of lm-eval's, read."""

    path: Path
    content: dict[str, Any]

    @property
    def tree(self) -> dict[str, list[str]]:
        tree: dict[str, list[str]] = self.content.get("group_subtasks") or {}
        return tree


def is_run(content: dict[str, Any]) -> bool:
    """Whether a JSON file is lm-eval's."""
    return isinstance(content.get("results"), dict) and "config" in content


def find(folder: Path) -> list[Path]:
    """The results files of a folder of lm_eval's --output_path, oldest first.

    Raises:
        HarnessError: several models' folders.
    """
    paths = [*folder.glob("results_*.json"), *folder.glob("*/results_*.json")]
    dated = {path: match["date"] for path in paths if (match := DATED.fullmatch(path.stem))}
    folders = sorted({path.parent for path in dated})
    if len(folders) > 1:
        names = ", ".join(one.name for one in folders)
        raise HarnessError(f"{folder} holds runs of {len(folders)} models ({names}): name one")
    return sorted(dated, key=lambda path: dated[path])


def read(paths: list[Path], model: Path) -> Figures:
    """What one or several runs of a model found; of a task that was run twice, the latest.

    Raises:
        HarnessError: a run of another model, or no figures.
    """
    runs = [ResultsFile(path, read_json(path)) for path in paths]
    warnings = [text for run in runs for text in _check_model(run, model)]
    latest: dict[str, ResultsFile] = {}
    for run in runs:
        latest |= dict.fromkeys(run.content["results"], run)
    where = runs[-1].path if len(runs) == 1 else runs[-1].path.parent
    scores: list[Score] = []
    known: dict[str, Benchmark] = {}
    for run in runs:
        of_run = [score for score in _scores(run) if latest[score.name] is run]
        sections = dict.fromkeys((score.name, score.depth) for score in of_run)
        known |= benchmarks(sections, run.content.get("configs") or {}, run.tree)
        scores += of_run
    if not scores:
        names = ", ".join(latest) or "nothing"
        raise HarnessError(f"{where} has no figures (found: {names}), expected tasks with a metric")
    tree = {group: members for run in runs for group, members in run.tree.items()}
    used = [run for run in runs if any(run is other for other in latest.values())]
    made = [block for run in used for block in _made(run)]
    return Figures(where, scores, known, tree=tree, made=made, warnings=warnings)


def _scores(run: ResultsFile) -> Iterator[Score]:
    from harness.runs.group_tree import order_of

    results = run.content["results"]
    for name, depth in order_of(run.tree, results):
        scores = results[name]
        alias = str(scores.get("alias", name)).lstrip(" -")
        label = alias if alias.startswith(name) else name
        for key, value in scores.items():
            metric, comma, kind = key.partition(",")
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if not comma or not is_number or metric.endswith("_stderr"):
                continue
            if _ABOUT_DATA.fullmatch(metric):
                continue
            stderr = scores.get(f"{metric}_stderr,{kind}")
            yield Score(
                name,
                label,
                depth,
                metric if kind == "none" else f"{metric} ({kind})",
                float(value),
                float(stderr) if isinstance(stderr, int | float) else None,
                int(scores.get("sample_len") or 0),
            )


def _check_model(run: ResultsFile, model: Path) -> Iterator[str]:
    """Warnings, where the file does not tell whether it is about this model.

    Raises:
        HarnessError: it is about another.
    """
    arguments = _arguments(run)
    advice = f"give results of lm_eval --model_args pretrained={model}"
    for adapter in ("peft", "delta"):
        if arguments.get(adapter):
            raise HarnessError(
                f"{run.path}: measured with {adapter}={arguments[adapter]}, expected the merged "
                f"model alone: {advice}"
            )
    named = arguments.get("pretrained")
    if not named:
        yield f"{run.path} does not name its model; taken for {model}"
        return
    named = str(named)
    if Path(named).exists():
        is_model = os.path.samefile(named, model)
    else:
        is_model = Path(named).name == model.resolve().name
        if is_model:
            yield f"{run.path} is of {named}, which is not here; taken for {model}"
    if not is_model:
        raise HarnessError(f"{run.path} is of the model {named}, expected {model}: {advice}")
    date = run.content.get("date")
    newest = max((path.stat().st_mtime for path in model.glob("*.safetensors")), default=0.0)
    if isinstance(date, int | float) and date < newest:
        yield (
            f"{run.path} is older than the weights in {model}: if you merged again since, measure "
            "again"
        )


def _arguments(run: ResultsFile) -> dict[str, Any]:
    """``--model_args``, which lm-eval writes as a mapping or as the text that was typed."""
    given = (run.content.get("config") or {}).get("model_args") or {}
    if isinstance(given, dict):
        return given
    pairs = (part.partition("=") for part in str(given).split(","))
    return {name: value for name, _, value in pairs}


def _made(run: ResultsFile) -> Iterator[Block]:
    content = run.content
    config = content.get("config") or {}
    options = {k: v for k, v in _arguments(run).items() if k not in ("pretrained", "model")}
    shown = "".join(f",{name}={value}" for name, value in options.items())
    limit = f" --limit {config['limit']:g}" if config.get("limit") else ""
    children = {member for members in run.tree.values() for member in members}
    tasks = ",".join(name for name in content["results"] if name not in children)
    date = content.get("date")
    day = f"{datetime.fromtimestamp(date, UTC):%Y-%m-%d}; " if isinstance(date, int | float) else ""
    yield Code(
        "Command",
        f"lm_eval --model {config.get('model')} --model_args pretrained=...{shown} "
        f"--tasks {tasks} --batch_size {config.get('batch_size')}{limit}",
    )
    yield Text(
        f"{day}lm-eval {content.get('lm_eval_version')}, "
        f"transformers {content.get('transformers_version')}."
    )
