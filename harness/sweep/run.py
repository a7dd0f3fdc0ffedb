# SPDX-License-Identifier: Apache-2.0
"""A sweep from recipe to choice: measure the selection rows, choose, then open the report rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.runs.results import find_run
from harness.show import study_output
from harness.show.naming import lambda_is
from harness.study.interrupt import stoppable
from harness.sweep import choose, weights
from harness.sweep.bench import Bench
from harness.sweep.plan import Plan
from harness.sweep.progress import Progress
from harness.sweep.rows import REPORT, SELECT, check_metric
from harness.sweep.store import RESULTS, Store, check_folder, told_if_full
from harness.sweep.summary import measured_at, place, summary
from harness.sweep.weights import Point


def sweep(plan: Plan, out: Path, say: Callable[[str], None]) -> tuple[dict[str, Any], list[Path]]:
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
    check_metric(plan.rows, plan.metric)
    check_folder(out)
    stopped = f"stopped; the same command goes on from what is in {out / RESULTS}"
    with stoppable(say, stopped), told_if_full(out):
        bench = Bench(plan.recipe, plan.settings, say)
        store = Store(out, bench.made_with)
        try:
            for line in store.news():
                say(line)
            _measure(plan, plan.points, SELECT, bench, store, say)
            measured = [measured_at(plan, store, point, SELECT) for point in plan.points]
            scores = [choose.mean_score(_tops(found)) for _, found in measured]
            first = store.path(place(plan.points[0], SELECT), plan.rows_of(SELECT)[0].name)
            rising = choose.is_rising(find_run(first), plan.metric)
            best = choose.best(scores, rising)
            chosen = choose.chosen(scores, plan.rule, rising)
            ends = sorted({*weights.ends(plan.points), plan.points[chosen]}, key=plan.points.index)
            labels = ", ".join(lambda_is(point.label) for point in ends)
            say(f"chosen: {lambda_is(plan.points[chosen].label)}; now the report rows, at {labels}")
            _measure(plan, ends, REPORT, bench, store, say)
            seconds = time.perf_counter() - began
            found = summary(plan, store, measured, scores, (best, chosen), ends, seconds, rising)
            return found, study_output.write(found, out)
        finally:
            store.close()


def _measure(
    plan: Plan,
    points: Sequence[Point],
    role: str,
    bench: Bench,
    store: Store,
    say: Callable[[str], None],
) -> None:
    rows = plan.rows_of(role)
    places = [place(point, role) for point in points]
    for one in rows:
        if store.outdated(places, one.name, one.digest()):
            say(
                f"{one.name} is measured anew: its rows, its settings, its code or their division "
                "are not those of the earlier results"
            )
    progress = Progress(say, len(points) * len(rows))
    for point, where in zip(points, places, strict=True):
        for one in rows:
            done = bench.measure(where, point.as_floats(), one, store)
            top = choose.sections(find_run(store.path(where, one.name)), plan.metric)[0]
            progress.tell(point.label, one.name, plan.metric, top, done)


def _tops(sections: Iterable[choose.Section]) -> list[choose.Section]:
    return [section for section in sections if section.depth == 0]
