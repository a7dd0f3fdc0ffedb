# SPDX-License-Identifier: Apache-2.0
"""Accuracy against N, read from the results that lm-eval wrote for the tasks `bon*`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.runs.results import read_json

KEY = re.compile(r"(best_of_n|weighted_best_of_n|oracle|majority|longest)@(\d+),none")
# What does not depend on the reward model, from the best to the worst that there usually is.
BASELINES = ("oracle", "majority", "longest", "random")


class Mean(NamedTuple):
    """A mean over the questions, and its standard error (NaN where lm-eval gives none)."""

    value: float
    error: float


Curve = dict[int, Mean]  # by N


@dataclass
class TaskCurves:
    """One task's accuracies by N: of each reward model's choice, and of choices that need none.

    Attributes:
        questions: how many there were.
        baselines: curves that are the same for every model, by name.
        models: the curve of each reward model's choice, by the model's label.
        weighted: the same, where its rewards weigh the votes for an answer; none where candidates
            have no answers to vote for.
        sources: the file that each model's curve is from.
    """

    questions: int
    baselines: dict[str, Curve]
    models: dict[str, Curve] = field(default_factory=dict)
    weighted: dict[str, Curve] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)


def read_curves(given: Sequence[str]) -> dict[str, TaskCurves]:
    """The curves in files or folders of results, by task.

    Args:
        given: ``results_*.json``, or a folder that has such files at any depth; ``LABEL=path``
            names the model, which is otherwise called as its folder or Hub id is.

    Raises:
        HarnessError: nothing was found, two results have one label, or two models were measured
            on different candidates.
    """
    tasks: dict[str, TaskCurves] = {}
    for argument in given:
        label, path = _label(argument)
        files = sorted(path.rglob("results_*.json")) if path.is_dir() else [path]
        with_curves = 0
        for file in files:
            results = _results(file)
            for task, metrics in results["results"].items():
                is_group = task in (results.get("groups") or {})  # it has no candidates of its own
                if not is_group and any(KEY.fullmatch(key) for key in metrics):
                    with_curves += 1
                    _add(tasks, task, metrics, results, label or _model(results, file), file)
        if not with_curves:
            raise HarnessError(
                f"{path} has no results of best-of-N (searched {len(files)} results_*.json); run "
                "lm_eval with --tasks bon_gsm8k (or another of the tasks bon*) and --output_path"
            )
    return tasks


def _label(argument: str) -> tuple[str | None, Path]:
    label, equals, path = argument.partition("=")
    if Path(argument).exists() or not equals:
        label, path = "", argument
    if not Path(path).exists():
        raise HarnessError(f"there is no {path}; give results_*.json or a folder that has one")
    return label or None, Path(path)


def _results(file: Path) -> dict[str, Any]:
    if file.suffix == ".jsonl":
        raise HarnessError(
            f"{file}: give results_*.json or the folder of --output_path, not samples"
        )
    results = read_json(file)
    if not isinstance(results.get("results"), dict):
        raise HarnessError(f"{file} is not a file of lm-eval's results: no key results")
    return results


def _model(results: dict[str, Any], file: Path) -> str:
    return Path(str(results.get("model_name") or file.parent)).name


def _add(
    tasks: dict[str, TaskCurves],
    task: str,
    metrics: dict[str, Any],
    results: dict[str, Any],
    label: str,
    file: Path,
) -> None:
    curves: dict[str, Curve] = {}
    for key in metrics:
        if match := KEY.fullmatch(key):
            curves.setdefault(match[1], {})[int(match[2])] = _point(metrics, key)
    curves = {name: dict(sorted(curve.items())) for name, curve in curves.items()}
    chosen, weighted = curves.pop("best_of_n"), curves.pop("weighted_best_of_n", None)
    curves["random"] = dict.fromkeys(chosen, _point(metrics, "random,none"))
    # "bon_gsm8k [likelihood]": what kind of score chose, where it is not a reward.
    label += str(metrics.get("alias", task)).removeprefix(task)
    questions = int(results["n-samples"][task]["effective"])
    there = tasks.setdefault(task, TaskCurves(questions, curves))
    if label in there.models:
        if there.sources[label].resolve() == file.resolve():
            raise HarnessError(f"{file} is given twice, by itself or in a folder; give it once")
        raise HarnessError(
            f"{there.sources[label]} and {file} both have results of {task} for {label}; give one "
            "of the files, or LABEL=file for each"
        )
    if there.questions != questions or not _same(there.baselines, curves):
        raise HarnessError(
            f"{next(iter(there.sources.values()))} and {file} are not about the same candidates of "
            f"{task} (their questions, oracle or random choice differ); run both on one file, with "
            "one --limit"
        )
    there.models[label], there.sources[label] = chosen, file
    if weighted is not None:
        there.weighted[label] = weighted


def _point(metrics: dict[str, Any], key: str) -> Mean:
    error = metrics.get(key.replace(",", "_stderr,"))
    return Mean(float(metrics[key]), float(error) if isinstance(error, (int, float)) else math.nan)


def _same(one: dict[str, Curve], other: dict[str, Curve]) -> bool:
    values = [
        {
            (name, size): point.value
            for name, curve in curves.items()
            for size, point in curve.items()
        }
        for curves in (one, other)
    ]
    return values[0].keys() == values[1].keys() and all(
        math.isclose(value, values[1][key], abs_tol=1e-9) for key, value in values[0].items()
    )
