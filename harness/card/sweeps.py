# SPDX-License-Identifier: Apache-2.0
"""The figures in sweep.json and search.json: of the chosen weights, on the report rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.card import chosen
from harness.card.benchmarks import benchmarks, task_index
from harness.card.difference import difference
from harness.card.figures import Figures, Score
from harness.card.recipe import Recipe, parsed
from harness.errors import HarnessError
from harness.report import read as report
from harness.report.blocks import Block, Code, Text
from harness.report.form import Reported, Search, Sweep
from harness.report.numbers import duration
from harness.report.parts import compared, verdicts
from harness.runs.group_tree import leaves_below
from harness.sweep.naming import lambda_is


def is_sweep(content: dict[str, Any]) -> bool:
    """Whether a JSON file is of `dogerm sweep` or `dogerm search`."""
    return content.get("kind") in ("sweep", "search") and "form" in content


def read(path: Path, recipe: Recipe, include_path: Sequence[Path] = ()) -> Figures:
    """What a sweep or search found of the weights that it chose.

    Raises:
        HarnessError: it chose other weights than the merged model's, it is of other models, or it
            has no figures.
    """
    found = report.read(path)
    _check_same(found, path, recipe)
    reported = found["reported"] if found["kind"] == "sweep" else []
    label = _label(found)
    mine = [point for point in reported if point["label"] == label]
    if found["kind"] == "search":
        scores = list(_of_comparison(found))
    else:
        scores = [score for point in mine for score in _scores(point, found["metric"])]
    if not scores:
        raise HarnessError(
            f"{path} has no figures of the report tasks ({', '.join(found['report'])}) at the "
            f"chosen weights (found: {', '.join(point['label'] for point in reported) or 'none'}): "
            "run it again"
        )
    configs, tree = task_index([*found["select"], *found["report"]], include_path)
    return Figures(
        path,
        scores,
        benchmarks([(score.name, score.depth) for score in scores], configs, tree),
        title=f"this model ({lambda_is(label)})" if mine else "this model",
        beside={
            _heading(point): {one.name: one for one in _scores(point, found["metric"])}
            for point in reported
            if point["label"] != label
        },
        how=list(chosen.blocks(found)),
        comparison=list(_comparison(found)),
        selection=_selection(found, tree),
        made=list(_made(found)),
        notes=found["notes"],
    )


def _check_same(found: Sweep | Search, path: Path, recipe: Recipe) -> None:
    other = difference(recipe.content, parsed(found["best_recipe"], f"{path}: best_recipe"))
    if other:
        place, here, there = other
        best = path.with_name("best.yml")
        raise HarnessError(
            f"{recipe.path}: {place} is {here}, expected {there}, which {path} is about: merge "
            f"what it chose (mergekit-yaml {best} {recipe.path.parent}), or give the results of "
            "this model"
        )


def _label(found: Sweep | Search) -> str:
    """The chosen weights, as `reported` and the comparison name them."""
    if found["kind"] == "sweep":
        return found["points"][found["chosen"]]["label"]
    return found["proof"]["b"] if found["proof"] else ""


def _selection(found: Sweep | Search, tree: dict[str, list[str]]) -> frozenset[str]:
    names = {leaf for task in found["select"] for leaf in (task, *leaves_below(task, tree))}
    if found["kind"] == "sweep":
        names |= {section["name"] for section in found["points"][0]["sections"]}
    return frozenset(names)


def _heading(point: Reported) -> str:
    weight = lambda_is(point["label"])
    return weight if point["total"] else f"reward model ({weight})"


def _scores(point: Reported, metric: str) -> Iterator[Score]:
    for one in point["sections"]:
        name = one["name"]
        yield Score(name, name, one["depth"], metric, one["score"], one["stderr"], one["items"])


def _of_comparison(found: Search) -> Iterator[Score]:
    """The best trial's scores, which search.json has in its comparison with the reward model."""
    for one in found["proof"]["sections"] if found["proof"] else ():
        name = one["name"]
        yield Score(name, name, one["depth"], found["metric"], one["b"], None, one["items"])


def _comparison(found: Sweep | Search) -> Iterator[Block]:
    if proof := found["proof"]:
        yield from verdicts(proof, "the reward model")
        yield from compared(proof, "the reward model", "this model")
    elif found["kind"] == "sweep":
        yield Text("λ = 0: this model is the reward model, there is nothing to compare.")
    if found["kind"] == "search" and (proof := found["proof_baseline"]):
        yield from compared(proof, "the best single λ", "this model")


def _made(found: Sweep | Search) -> Iterator[Block]:
    """What made the file: command, settings, machine, versions."""
    made = found["made"]
    machine = made["machine"]
    hardware = machine.get("gpu") or f"{machine.get('cores')} cores, {machine.get('cpu')}"
    arguments = [f"{name} {value}" for name, value in made["model_args"].items()]
    settings = [*arguments, f"batch size {made['batch_size']}", f"seed {made['seed']}"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    yield Code("Command", made["command"])
    yield Text(
        f"{made['date'][:10]}; {duration(made['seconds'])} on {hardware}; {', '.join(settings)}; "
        f"{versions}."
    )
