# SPDX-License-Identifier: Apache-2.0
"""How λ was chosen, as sweep.json or search.json tell it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.show import raced
from harness.show.blocks import Block, Text
from harness.show.naming import lambda_is
from harness.show.numbers import score
from harness.show.page_parts import apart
from harness.show.study_file import SearchFile, SideBySide, SweepFile

_LISTED = 30
_WARNING = (
    "The score on the selection rows is too high on average, because it was picked for being high: "
    "it is no test result."
)


def blocks(study: SweepFile | SearchFile) -> Iterator[Block]:
    """On which rows, by which rule, among which values."""
    yield Text(apart(study))
    if isinstance(study, SweepFile):
        yield Text(_of_sweep(study))
    else:
        yield Text(_of_search(study))
        yield Text(_baseline(study))


def _of_sweep(sweep: SweepFile) -> str:
    points, metric = sweep.points, sweep.metric
    best, chosen = sweep.best_point, sweep.chosen_point
    values = [point.label for point in sweep.tried]
    if len(values) > _LISTED:
        values = [*values[:3], "...", values[-1]]
    rules = {
        "best": f"the best {metric} on the selection rows",
        "one-standard-error": f"the smallest total weight whose {metric} on the selection rows is "
        f"within one standard error of the best ({score(best.score, best.stderr)} at "
        f"{lambda_is(best.label)})",
    }
    race = raced.sentence(sweep)
    beside = f", the reward model's alone {score(points[0].score, points[0].stderr)}"
    return (
        f"dogerm sweep tried {len(sweep.tried)} values of {sweep.parameter} ({'; '.join(values)}) "
        f"and took {lambda_is(chosen.label)}. Rule: {rules[sweep.rule]}. Its {metric} on these "
        f"{chosen.items:,} rows is {score(chosen.score, chosen.stderr)}{beside}. "
        f"{_WARNING}{f' {race}' if race else ''}"
    )


def _of_search(search: SearchFile) -> str:
    best, metric = search.top[0], search.metric
    states = [trial.state for trial in search.trials]
    counts = ", ".join(
        f"{states.count(state)} {state}" for state in dict.fromkeys(states) if state != "complete"
    )
    values = ", ".join(f"{name} {value}" for name, value in best.params.items())
    return (
        f"dogerm search made {len(states)} trials{f' ({counts})' if counts else ''} with the "
        f"sampler {search.sampler} and took trial {best.number} ({values}), the one with the "
        f"best {metric} on the selection rows: {_side_by_side(best)}. {_WARNING}"
    )


def _baseline(search: SearchFile) -> str:
    baseline = search.baseline
    return f"A plain sweep over one λ took {lambda_is(baseline.label)}: {_side_by_side(baseline)}."


def _side_by_side(measured: SideBySide) -> str:
    return (
        f"{score(measured.select, measured.select_stderr)} there, "
        f"{score(measured.report, measured.report_stderr)} on the report rows"
    )
