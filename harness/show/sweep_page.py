# SPDX-License-Identifier: Apache-2.0
"""The report of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.show import paired_table, raced
from harness.show.blocks import Block, Page, Part, Picture, Table, Text
from harness.show.naming import lambda_is, shallow
from harness.show.numbers import duration, score
from harness.show.page_parts import apart, how_made, notes, the_merge
from harness.show.study_file import DroppedPoint, SweepFile, SweptPoint
from harness.show.sweep_plots import lambda_figure, margins_figure

MOST_COLUMNS = 8


def page(sweep: SweepFile) -> Page:
    """What the sweep found, the verdict first."""
    models = " and ".join(Path(model).name for model in sweep.domain_models)
    return Page(
        title=f"Sweep of {sweep.parameter}: {Path(sweep.reward_model).name} with {models}",
        lead=_lead(sweep),
        parts=[
            Part(f"How {sweep.parameter} was chosen", list(_selection(sweep))),
            Part("What it is worth", list(_report(sweep))),
            the_merge(sweep),
            how_made(sweep),
            *notes(sweep),
        ],
    )


def _lead(sweep: SweepFile) -> list[Block]:
    if sweep.chosen == 0:
        itself = lambda_is(sweep.chosen_point.label).removesuffix("the reward model")
        return [
            Text(
                f"Chosen: {itself}{', ' if itself else ''}the reward model itself. By the rule "
                f"below, no merge{raced.left(sweep)} did well enough on the selection rows to be "
                "preferred to it."
            )
        ]
    told = paired_table.verdicts(sweep.proof, "the reward model") if sweep.proof else []
    return [Text(f"Chosen: {lambda_is(sweep.chosen_point.label)}."), *told]


def _rule(sweep: SweepFile) -> str:
    rules = {
        "best": "the best score on the selection rows",
        "one-standard-error": "the smallest total weight whose score on the selection rows is "
        "within one standard error of the best",
    }
    return (
        f"Rule: {rules[sweep.rule]}. Best: {_at(sweep.best_point)}. Chosen: "
        f"{_at(sweep.chosen_point)}. The reward model itself: {_at(sweep.points[0])}. The best "
        f"score of {len(sweep.tried)} is too high on average, because it was picked for being "
        "high: only the report rows tell what the merge is worth."
    )


def _at(point: SweptPoint) -> str:
    return f"{score(point.score, point.stderr)} at {lambda_is(point.label)}"


def _selection(sweep: SweepFile) -> Iterator[Block]:
    points = sweep.points
    yield Text(apart(sweep))
    yield Text(_rule(sweep))
    if told := raced.sentence(sweep):
        yield Text(told)
    tried = sweep.tried
    ends = f"{lambda_is(tried[0].label)} to {lambda_is(tried[-1].label)}"
    crosses = " A cross is a value that was dropped." if sweep.dropped else ""
    looked_at = ", ".join(lambda_is(point.label) for point in sweep.reported)
    yield Picture(
        "lambda.png",
        f"Scores against {sweep.parameter}",
        f"Above, {sweep.metric} on the selection rows at {len(tried)} weights, {ends}.{crosses} "
        f"Below, {sweep.metric} of each section of the report rows at {looked_at}. The tables hold "
        "the same figures.",
        lambda_figure(sweep),
    )
    shown = shallow(points[0].sections, MOST_COLUMNS)
    names = [section.name for section in shown] if len(points[0].sections) > 1 else []
    all_of_them = f"all, which chose {sweep.parameter}" if names else sweep.metric
    models = [Path(model).name for model in sweep.domain_models]
    order = f"{', '.join(models)}{', in this order' if len(models) > 1 else ''}"
    is_lambda = sweep.parameter == "λ"
    whose = f"{sweep.parameter} is {'the weight' if is_lambda else 'that'} of {order}"
    yield Table(
        caption=f"Selection rows ({points[0].items:,}): {sweep.metric} ± standard error; {whose}",
        head=[sweep.parameter, "picked", all_of_them, *names, "merge", "scoring"],
        rows=[_point_row(sweep, point, names) for point in tried],
        left=frozenset({0, 1}),
        marked=frozenset({tried.index(sweep.chosen_point)}),
    )
    if names and len(names) < len(points[0].sections):
        yield Text("Deeper sections are in sweep.json.")


def _point_row(
    sweep: SweepFile, point: SweptPoint | DroppedPoint, names: Sequence[str]
) -> list[str]:
    if isinstance(point, DroppedPoint):
        marks, each = [raced.mark(point, sweep)], ["-"] * len(names)
    else:
        scores = {section.name: score(section.score, section.stderr) for section in point.sections}
        marked = {"best": sweep.best_point, "chosen": sweep.chosen_point}
        marks = [mark for mark, one in marked.items() if one == point]
        each = [scores[name] for name in names]
    return [
        lambda_is(point.label).removeprefix("λ = "),
        ", ".join(marks),
        score(point.score, point.stderr),
        *each,
        duration(point.seconds.merge),
        duration(point.seconds.score),
    ]


def _report(sweep: SweepFile) -> Iterator[Block]:
    if proof := sweep.proof:
        merge = f"the merge at {lambda_is(proof.b)}"
        yield from paired_table.blocks(proof, "the reward model", merge)
    yield _ends(sweep)
    margins, figure = sweep.margins, margins_figure(sweep)
    if margins and figure:
        means = ", ".join(f"{mean:+.3g} at {lambda_is(k)}" for k, mean in margins.mean.items())
        yield Picture(
            "margins.png",
            "How far apart chosen and rejected responses are",
            "Distributions of the reward of the chosen minus that of the rejected response on "
            f"{margins.items:,} pairs of the report rows. Means: {means}.",
            figure,
        )
        yield Text(
            "Rewards have no unit, and a merge can change their scale: what counts is the share to "
            "the right of 0, which is the accuracy, not how far to the right."
        )


def _ends(sweep: SweepFile) -> Table:
    reported = sweep.reported
    chosen = sweep.chosen_point.label
    scores = [
        [score(section.score, section.stderr) for section in point.sections] for point in reported
    ]
    labels = [
        lambda_is(point.label) + (" (chosen)" if point.label == chosen else "")
        for point in reported
    ]
    return Table(
        caption=f"Report rows: {sweep.metric} ± standard error at the ends and at the chosen "
        "weight, the weights that this sweep measured on these rows",
        head=["section", "rows", *labels],
        rows=[
            [paired_table.indented(section.name, section.depth), f"{section.items:,}", *cells]
            for section, *cells in zip(reported[0].sections, *scores, strict=True)
        ],
    )
