# SPDX-License-Identifier: Apache-2.0
"""A sweep from recipe to choice: measure the selection rows, choose, then open the report rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.show import study_output
from harness.show.naming import lambda_is
from harness.study import choose, grid
from harness.study.interrupt import stoppable
from harness.study.measurement import Measurement
from harness.study.measuring import Measuring, opened
from harness.study.merged_model import MergedModel
from harness.study.point import Point
from harness.study.progress import Progress
from harness.study.rows import REPORT, SELECT, check_metric
from harness.study.spec import Plan
from harness.study.store import RESULTS, check_folder, told_if_full
from harness.study.sweep_summary import summary


@dataclass(frozen=True)
class SweepPlan(Plan):
    """What a sweep was asked for.

    Attributes:
        points: what to try, as `grid.points` gives it: the reward model itself first.
        rule: of `harness.study.choose`.
    """

    points: Sequence[Point]
    rule: str


@dataclass(frozen=True)
class Swept:
    """What a sweep measured and chose.

    Attributes:
        measured: the selection rows at each point.
        reported: the report rows at the ends and at the chosen point.
        best: the index of the point with the best score.
        chosen: the index of the point that the rule chose.
        rising: whether a larger score is better.
        looked_at: the labels of other points whose report rows earlier runs opened.
    """

    measured: Sequence[Measurement]
    reported: Sequence[Measurement]
    best: int
    chosen: int
    rising: bool
    looked_at: Sequence[str]


def sweep(
    plan: SweepPlan, out: Path, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Path]]:
    """Measure, choose, prove and write; a killed sweep goes on where it stopped.

    Args:
        plan: what was asked for.
        out: the folder; ``results/`` in it has every measurement, each by itself.
        say: told of progress, a line at a time.

    Returns:
        What ``sweep.json`` holds, and the files that were written.

    Raises:
        HarnessError: a metric that a task lacks; a folder that can't be worked in; a full disk; a
            reward that is no finite number.
        MergeError: the recipe or its models don't make a merge.
    """
    began = time.perf_counter()
    check_metric(plan.rows, plan.spec.metric)
    check_folder(out)
    stopped = f"stopped; the same command goes on from what is in {out / RESULTS}"
    with stoppable(say, stopped), told_if_full(out):
        model = MergedModel(plan.spec.recipe, plan.spec.settings, say)
        with opened(plan.spec, plan.rows, model, out, say) as measuring:
            swept = _swept(plan, measuring, say)
            content = summary(plan, swept, out, time.perf_counter() - began)
            return content, study_output.write(content, out)


def _swept(plan: SweepPlan, measuring: Measuring, say: Callable[[str], None]) -> Swept:
    def measure(points: Sequence[Point], role: str) -> list[Measurement]:
        count = len(points) * len(plan.names(role))
        named = [(lambda_is(point.label), point) for point in points]
        progress = Progress(say, plan.spec.metric, count)
        return list(measuring.measure(named, role, progress.tell).values())

    measured = measure(plan.points, SELECT)
    scores = [one.score for one in measured]
    rising = measured[0].tasks[0].rising
    chosen = choose.chosen(scores, plan.rule, rising)
    looked_at = {point.label for point in (*grid.ends(plan.points), plan.points[chosen])}
    ends = [point for point in plan.points if point.label in looked_at]
    labels = ", ".join(lambda_is(point.label) for point in ends)
    say(f"chosen: {lambda_is(plan.points[chosen].label)}; now the report rows, at {labels}")
    return Swept(
        measured=measured,
        reported=measure(ends, REPORT),
        best=choose.best(scores, rising),
        chosen=chosen,
        rising=rising,
        looked_at=sorted(measuring.store.labels(REPORT) - looked_at),
    )
