# SPDX-License-Identifier: Apache-2.0
"""The report of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.report.blocks import Block, Page, Part, Picture, Table, Text
from harness.report.form import Point, Sweep
from harness.report.numbers import duration, score
from harness.report.parts import apart, compared, how_made, indented, notes, the_merge, verdicts
from harness.sweep.naming import lambda_is, shallow
from harness.sweep.plots import lambda_figure, margins_figure

MOST_COLUMNS = 8


def page(sweep: Sweep) -> Page:
    """What the sweep found, the verdict first."""
    models = " and ".join(Path(model).name for model in sweep["domain_models"])
    return Page(
        title=f"Sweep of λ: {Path(sweep['reward_model']).name} with {models}",
        lead=_lead(sweep),
        parts=[
            Part("How λ was chosen", list(_selection(sweep))),
            Part("What it is worth", list(_report(sweep))),
            the_merge(sweep),
            how_made(sweep),
            *notes(sweep),
        ],
    )


def _lead(sweep: Sweep) -> list[Block]:
    chosen = sweep["points"][sweep["chosen"]]
    if not chosen["total"]:
        return [
            Text(
                "Chosen: λ = 0, the reward model itself. By the rule below, no merge did well "
                "enough on the selection rows to be preferred to it."
            )
        ]
    told = verdicts(sweep["proof"], "the reward model") if sweep["proof"] else []
    return [Text(f"Chosen: {lambda_is(chosen['label'])}."), *told]


def _rule(sweep: Sweep) -> str:
    zero, best, chosen = (sweep["points"][index] for index in (0, sweep["best"], sweep["chosen"]))
    rules = {
        "best": "the best score on the selection rows",
        "one-standard-error": "the smallest total weight whose score on the selection rows is "
        "within one standard error of the best",
    }
    return (
        f"Rule: {rules[sweep['rule']]}. Best: {_at(best)}. Chosen: {_at(chosen)}. The reward model "
        f"itself: {_at(zero)}. The best score of {len(sweep['points'])} is too high on average, "
        "because it was picked for being high: only the report rows tell what the merge is worth."
    )


def _at(point: Point) -> str:
    return f"{score(point['score'], point['stderr'])} at {lambda_is(point['label'])}"


def _selection(sweep: Sweep) -> Iterator[Block]:
    points = sweep["points"]
    yield Text(apart(sweep))
    yield Text(_rule(sweep))
    ends = f"{lambda_is(points[0]['label'])} to {lambda_is(points[-1]['label'])}"
    looked_at = ", ".join(lambda_is(found["label"]) for found in sweep["reported"])
    yield Picture(
        "lambda.png",
        "Scores against λ",
        f"Above, {sweep['metric']} on the selection rows at {len(points)} weights, {ends}. Below, "
        f"{sweep['metric']} of each section of the report rows at {looked_at}. The tables hold the "
        "same figures.",
        lambda_figure(sweep),
    )
    shown = shallow(points[0]["sections"], MOST_COLUMNS)
    names = [section["name"] for section in shown] if len(points[0]["sections"]) > 1 else []
    all_of_them = "all, which chose λ" if names else sweep["metric"]
    models = [Path(model).name for model in sweep["domain_models"]]
    order = f"{', '.join(models)}{', in this order' if len(models) > 1 else ''}"
    yield Table(
        caption=f"Selection rows ({points[0]['items']:,}): {sweep['metric']} ± standard error; "
        f"λ is the weight of {order}",
        head=["λ", "picked", all_of_them, *names, "merge", "scoring"],
        rows=[_point_row(sweep, index, names) for index in range(len(points))],
        left=frozenset({0, 1}),
        marked=frozenset({sweep["chosen"]}),
    )
    if names and len(names) < len(points[0]["sections"]):
        yield Text("Deeper sections are in sweep.json.")


def _point_row(sweep: Sweep, index: int, names: Sequence[str]) -> list[str]:
    point = sweep["points"][index]
    scores = {found["name"]: score(found["score"], found["stderr"]) for found in point["sections"]}
    marks = {"best": sweep["best"], "chosen": sweep["chosen"]}
    return [
        lambda_is(point["label"]).removeprefix("λ = "),
        ", ".join(mark for mark, marked in marks.items() if marked == index),
        score(point["score"], point["stderr"]),
        *(scores[name] for name in names),
        duration(point["seconds"]["merge"]),
        duration(point["seconds"]["score"]),
    ]


def _report(sweep: Sweep) -> Iterator[Block]:
    if proof := sweep["proof"]:
        yield from compared(proof, "the reward model", f"the merge at {lambda_is(proof['b'])}")
    yield _ends(sweep)
    margins, figure = sweep["margins"], margins_figure(sweep)
    if margins and figure:
        means = ", ".join(f"{mean:+.3g} at {lambda_is(k)}" for k, mean in margins["mean"].items())
        yield Picture(
            "margins.png",
            "How far apart chosen and rejected responses are",
            "Distributions of the reward of the chosen minus that of the rejected response on "
            f"{margins['items']:,} pairs of the report rows. Means: {means}.",
            figure,
        )
        yield Text(
            "Rewards have no unit, and a merge can change their scale: what counts is the share to "
            "the right of 0, which is the accuracy, not how far to the right."
        )


def _ends(sweep: Sweep) -> Table:
    reported = sweep["reported"]
    chosen = sweep["points"][sweep["chosen"]]["label"]
    scores = [
        [score(section["score"], section["stderr"]) for section in found["sections"]]
        for found in reported
    ]
    labels = [
        lambda_is(found["label"]) + (" (chosen)" if found["label"] == chosen else "")
        for found in reported
    ]
    return Table(
        caption=f"Report rows: {sweep['metric']} ± standard error at the ends and at the chosen "
        "weight, the weights that this sweep measured on these rows",
        head=["section", "rows", *labels],
        rows=[
            [indented(section["name"], section["depth"]), f"{section['items']:,}", *cells]
            for section, *cells in zip(reported[0]["sections"], *scores, strict=True)
        ],
    )
