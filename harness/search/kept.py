# SPDX-License-Identifier: Apache-2.0
"""Measurements that are kept with all their items: the plain sweep, and all on the report rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs.identity import digest
from harness.runs.results import find_run
from harness.search.pool import Pool
from harness.search.worker import Job, Outcome
from harness.study import interrupt
from harness.sweep import choose
from harness.sweep.rows import Rows
from harness.sweep.store import Store
from harness.sweep.weights import Point


@dataclass(frozen=True)
class Kept:
    """A measurement of one role.

    Attributes:
        score: the mean over the role's tasks.
        sections: of all of them.
        configs: of the runs, one a task: times and memory among them.
        paths: the runs' folders.
    """

    score: choose.Score
    sections: list[choose.Section]
    configs: list[dict[str, Any]]
    paths: list[Path]


class Keeper:
    """Measures what the store does not have.

    Args:
        store: where measurements are.
        rows: of all roles.
        metric: what the score is.
        pool: who measures.
        say: told of every measurement.
    """

    def __init__(
        self,
        store: Store,
        rows: Sequence[Rows],
        metric: str,
        pool: Pool,
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._metric = metric
        self._pool = pool
        self._say = say
        self._rows = [(one, f"{one.role} {one.digest()}") for one in rows]

    def measure(self, jobs: Sequence[Job]) -> dict[str, Kept]:
        """The measurements of jobs, by their labels; those that are not there are made.

        Raises:
            HarnessError: one of them can't be made.
        """
        by_place = {_place(job): job for job in jobs}
        waiting = [job for job in by_place.values() if not self._has(job)]
        waiting.reverse()
        under_way = 0
        while waiting or under_way:
            while waiting and under_way < self._pool.size:
                self._pool.submit(replace(waiting.pop(), keep=True))
                under_way += 1
            outcome = self._pool.next()
            interrupt.check()
            self._keep(outcome)
            under_way -= 1
        return {job.label: self._read(job) for job in jobs}

    def rising(self, kept: Kept) -> bool:
        """Whether a larger score is better."""
        return choose.is_rising(find_run(kept.paths[0]), self._metric)

    def _tasks(self, job: Job) -> Iterator[tuple[str, str]]:
        """Of each task of the job's role its name and its data."""
        for rows, data in self._rows:
            if rows.role == job.role:
                yield rows.name, data

    def _has(self, job: Job) -> bool:
        place = _place(job)
        return all(self._store.has(place, name, data) for name, data in self._tasks(job))

    def _keep(self, outcome: Outcome) -> None:
        job = outcome.job
        if outcome.error is not None:
            raise HarnessError(f"{job.label}: {outcome.error}")
        for name, data in self._tasks(job):
            with self._store.writing(_place(job), name, data) as folder:
                for file, content in outcome.files[name].items():
                    (folder / file).write_bytes(content)
        error = f" ± {outcome.stderr:.3f}" if outcome.stderr is not None else ""
        seconds = outcome.merge_seconds + outcome.score_seconds
        self._say(
            f"{job.label} on the {job.role} rows: {outcome.score:.3f}{error}  ({seconds:.0f} s)"
        )

    def _read(self, job: Job) -> Kept:
        paths = [self._store.path(_place(job), name) for name, _ in self._tasks(job)]
        sections, configs = [], []
        for path in paths:
            run = find_run(path)
            (results,) = run.results.values()
            took = float(results["total_evaluation_time_seconds"])
            configs.append({**results["config"], "score_seconds": took})
            sections += choose.sections(run, self._metric)
        score = choose.mean_score([section for section in sections if section.depth == 0])
        return Kept(score, sections, configs, paths)


def _place(job: Job) -> str:
    """Where a job's measurements are, whoever measures these weights; see `Store.path`."""
    if all(isinstance(weight, int | float) for weight in job.weights):
        label = Point(tuple(Decimal(str(weight)) for weight in job.weights)).label
    else:
        label = f"groups-{digest(job.weights)}"
    return f"{label}/{job.role}"
