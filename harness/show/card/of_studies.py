# SPDX-License-Identifier: Apache-2.0
"""The figures in sweep.json and search.json: of the chosen weights, on the report rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs.group_tree import leaves_below
from harness.show import paired_table
from harness.show import read as studies
from harness.show.blocks import Block, Code, Text
from harness.show.card import chosen
from harness.show.card.benchmarks import benchmarks, task_index
from harness.show.card.figures import Figures, Score
from harness.show.card.recipe import MergedRecipe, parsed
from harness.show.card.same_recipe import difference
from harness.show.naming import lambda_is
from harness.show.numbers import duration
from harness.show.study_file import PointScores, SearchFile, SweepFile


def is_study(content: dict[str, Any]) -> bool:
    """Whether a JSON file is of `dogerm sweep` or `dogerm search`."""
    return content.get("kind") in ("sweep", "search") and "form" in content


def read(path: Path, recipe: MergedRecipe, include_path: Sequence[Path] = ()) -> Figures:
    """What a sweep or search found of the weights that it chose.

    Raises:
        HarnessError: it chose other weights than the merged model's, it is of other models, or it
            has no figures.
    """
    study = studies.read(path)
    _check_same(study, path, recipe)
    reported = study.reported if isinstance(study, SweepFile) else []
    label = _label(study)
    mine = [point for point in reported if point.label == label]
    if isinstance(study, SearchFile):
        scores = list(_of_comparison(study))
    else:
        scores = [score for point in mine for score in _scores(point, study.metric)]
    if not scores:
        raise HarnessError(
            f"{path} has no figures of the report tasks ({', '.join(study.report)}) at the "
            f"chosen weights (found: {', '.join(point.label for point in reported) or 'none'}): "
            "run it again"
        )
    configs, tree = task_index([*study.select, *study.report], include_path)
    return Figures(
        path,
        scores,
        benchmarks([(score.name, score.depth) for score in scores], configs, tree),
        title=f"this model ({lambda_is(label)})" if mine else "this model",
        beside={
            _heading(point): {one.name: one for one in _scores(point, study.metric)}
            for point in reported
            if point.label != label
        },
        how=list(chosen.blocks(study)),
        comparison=list(_comparison(study)),
        selection=_selection(study, tree),
        made=list(_made(study)),
        notes=study.notes,
    )


def _check_same(study: SweepFile | SearchFile, path: Path, recipe: MergedRecipe) -> None:
    other = difference(recipe.content, parsed(study.best_recipe, f"{path}: best_recipe"))
    if other:
        place, here, there = other
        best = path.with_name("best.yml")
        raise HarnessError(
            f"{recipe.path}: {place} is {here}, expected {there}, which {path} is about: merge "
            f"what it chose (mergekit-yaml {best} {recipe.path.parent}), or give the results of "
            "this model"
        )


def _label(study: SweepFile | SearchFile) -> str:
    """The chosen weights, as `reported` and the comparison name them."""
    if isinstance(study, SweepFile):
        return study.chosen_point.label
    return study.proof.b if study.proof else ""


def _selection(study: SweepFile | SearchFile, tree: dict[str, list[str]]) -> frozenset[str]:
    names = {leaf for task in study.select for leaf in (task, *leaves_below(task, tree))}
    if isinstance(study, SweepFile):
        names |= {section.name for section in study.points[0].sections}
    return frozenset(names)


def _heading(point: PointScores) -> str:
    weight = lambda_is(point.label)
    return weight if point.total else f"reward model ({weight})"


def _scores(point: PointScores, metric: str) -> Iterator[Score]:
    for one in point.sections:
        name = one.name
        yield Score(name, name, one.depth, metric, one.score, one.stderr, one.items)


def _of_comparison(search: SearchFile) -> Iterator[Score]:
    """The best trial's scores, which search.json has in its comparison with the reward model."""
    for one in search.proof.sections if search.proof else ():
        name = one.name
        yield Score(name, name, one.depth, search.metric, one.b, None, one.items)


def _comparison(study: SweepFile | SearchFile) -> Iterator[Block]:
    if proof := study.proof:
        yield from paired_table.verdicts(proof, "the reward model")
        yield from paired_table.blocks(proof, "the reward model", "this model")
    elif isinstance(study, SweepFile):
        yield Text("λ = 0: this model is the reward model, there is nothing to compare.")
    if isinstance(study, SearchFile) and (proof := study.proof_baseline):
        yield from paired_table.blocks(proof, "the best single λ", "this model")


def _made(study: SweepFile | SearchFile) -> Iterator[Block]:
    """What made the file: command, settings, machine, versions."""
    made = study.made
    machine = made.machine
    hardware = machine.get("gpu") or f"{machine.get('cores')} cores, {machine.get('cpu')}"
    arguments = [f"{name} {value}" for name, value in made.model_args.items()]
    settings = [*arguments, f"batch size {made.batch_size}", f"seed {made.seed}"]
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    yield Code("Command", made.command)
    yield Text(
        f"{made.date[:10]}; {duration(made.seconds)} on {hardware}; {', '.join(settings)}; "
        f"{versions}."
    )
