# SPDX-License-Identifier: Apache-2.0
"""The section of the card that people read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.show.blocks import Block, Code, Facts, Items, Page, Part, Table, Text
from harness.show.card.figures import Figures, Score
from harness.show.card.licences import OTHER, Licence, agreed
from harness.show.card.recipe import NAME, MergedRecipe
from harness.show.markdown import render
from harness.show.numbers import score as number
from harness.show.paired_table import indented


def markdown(
    recipe: MergedRecipe,
    licences: Sequence[Licence],
    licence: str,
    ours: bool,
    figures: Sequence[Figures],
    rest: str,
) -> str:
    """The card's section on what was merged, how λ was chosen, and what was measured.

    Args:
        licence: the card's.
        ours: whether `dogerm card` set it.
        figures: of all results.
        rest: the card without this section; what it has of the recipe is not said again.
    """
    how = [block for result in figures for block in result.how]
    compared = [block for result in figures for block in result.comparison]
    parts = [
        Part("What was merged", list(_merge(recipe, licences, rest))),
        Part("Licence", [Text(_licence(licences, licence, ours))]),
        Part("How λ was chosen", how or [Text("Not known: the results do not tell it.")]),
        Part("Scores", [block for result in figures for block in _scores(result)]),
        Part(
            "Against the reward model",
            compared
            or [Text("Not compared item by item: a difference from its scores can be noise.")],
        ),
        Part("How it was measured", [block for result in figures for block in result.made]),
    ]
    _, _, text = render(Page("", [], parts), {}).partition("\n\n")  # below the page's empty title
    return text


def _merge(recipe: MergedRecipe, licences: Sequence[Licence], rest: str) -> Iterator[Block]:
    if method := recipe.declared:
        parts = (f"{one.name}: {one.description}" for one in method.parameters)
        yield Text(
            "A reward model and domain language models. Embeddings and layers are merged: "
            f"{method.title}, {method.reference}. The reward head is the reward model's own. "
            f"{'. '.join(parts)}."
        )
    of_model = {licence.model: licence for licence in licences}
    yield Table(
        f"Merged by {recipe.method}",
        ["model", "", *recipe.of_models, "licence"],
        [
            [
                ingredient.name,
                ingredient.role,
                *ingredient.settings.values(),
                "; ".join(of_model[path].shown for path, _ in ingredient.parts),
            ]
            for ingredient in recipe.ingredients
        ],
        left=frozenset(range(3 + len(recipe.of_models))),
    )
    if recipe.of_merge:
        yield Facts(list(recipe.of_merge.items()))
    if recipe.text.strip() not in rest:
        yield Code(f"Recipe ({NAME})", recipe.text)


def _licence(licences: Sequence[Licence], licence: str, ours: bool) -> str:
    shared = agreed(licences)
    if ours and shared is not None:
        return f"{licence}, the licence of all models that were merged."
    if shared is not None:
        state = f"is {shared}"
    elif any(one.id is None for one in licences):
        state = "is not known for each of them"
    else:
        state = "is not the same for all of them"
    if ours:
        return (
            f"The licence of the merged models (table above) {state}. Whoever publishes this model "
            f"must decide under which licence; until then its metadata says {OTHER}."
        )
    return (
        f"{licence}, as set by hand. The licence of the merged models (table above) {state}; "
        "theirs bind this model, too."
    )


def _scores(result: Figures) -> Iterator[Block]:
    several = len({score.metric for score in result.scores}) > 1
    metric = "" if several else f"{result.scores[0].metric} "
    yield Table(
        f"{metric}± standard error",
        ["section", *(["metric"] if several else []), "items", *result.beside, result.title],
        [
            [
                indented(score.label, score.depth),
                *([score.metric] if several else []),
                _items(result, score),
                *(
                    _shown(column[score.name]) if score.name in column else "-"
                    for column in result.beside.values()
                ),
                _shown(score),
            ]
            for score in result.scores
        ],
        left=frozenset({0, 1}) if several else frozenset({0}),
    )
    if any(result.benchmarks[score.name].is_part(score.items) for score in result.scores):
        yield Text(
            "Items that are given as N of M: N were measured, and the benchmark has M. Such a "
            "figure is not the benchmark's."
        )
    if any(score.chose for score in result.scores):
        yield Text("Figures marked as a selection score are no test results: their rows chose λ.")
    if result.notes:
        yield Items(result.notes)


def _items(result: Figures, score: Score) -> str:
    return result.benchmarks[score.name].items(score.items)


def _shown(score: Score) -> str:
    marked = " (selection score)" if score.chose else ""
    return f"{number(score.value, score.stderr)}{marked}"
