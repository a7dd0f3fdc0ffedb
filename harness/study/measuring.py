# SPDX-License-Identifier: Apache-2.0
"""The loop that measures points and keeps what it measured, for sweeps and searches alike.

What comes out is a `Measurement`: scores, what they cost, and the items behind them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.runs.results import Run, find_run
from harness.show.naming import lambda_is
from harness.show.numbers import duration
from harness.study import choose, interrupt
from harness.study.choose import Score, SectionScore
from harness.study.merged_model import MergedModel
from harness.study.recipe import Point
from harness.study.rows import Rows
from harness.study.spec import Spec
from harness.study.store import Store
from harness.study.worker import Cost, Job, LocalPool, Outcome, Pool, Worker


@dataclass(frozen=True)
class TaskResult:
    """What was measured of one task or group at one point.

    Attributes:
        task: its name.
        sections: its scores, the whole first.
        rising: whether a larger score is better.
        truncated: conversations that lost their beginning.
        cost: what it took.
        run: lm-eval's files, with an item for each row.
    """

    task: str
    sections: tuple[SectionScore, ...]
    rising: bool
    truncated: int
    cost: Cost
    run: Run

    @classmethod
    def read(cls, folder: Path, metric: str) -> TaskResult:
        """Read a result back from the files that `harness.study.evaluate` gave.

        Args:
            folder: named by the task.
            metric: what the score is.

        Raises:
            HarnessError: files that are damaged, or have no such metric.
        """
        run = find_run(folder)
        (results,) = run.results.values()
        took = float(results["total_evaluation_time_seconds"])
        scores = results["results"]
        return cls(
            task=folder.name,
            sections=tuple(choose.sections(results, metric, folder)),
            rising=choose.is_rising(results, metric),
            truncated=sum(int(scores[leaf].get("truncated,none", 0)) for leaf in run.leaves),
            cost=Cost.of({**results["config"], "score_seconds": took}),
            run=run,
        )


@dataclass(frozen=True)
class Measurement:
    """What was measured at a point on all rows of a role, task by task.

    Attributes:
        point: which merge.
        role: `SELECT` or `REPORT` of `harness.study.rows`.
        tasks: what was measured, by task.
    """

    point: Point
    role: str
    tasks: tuple[TaskResult, ...]

    @property
    def sections(self) -> list[SectionScore]:
        """The scores of all tasks."""
        return [section for task in self.tasks for section in task.sections]

    @property
    def score(self) -> Score:
        """The mean over the tasks."""
        return choose.mean_score(self.sections)

    @property
    def costs(self) -> list[Cost]:
        return [task.cost for task in self.tasks]

    @property
    def runs(self) -> list[Run]:
        return [task.run for task in self.tasks]


# Told of each task at each point, and whether it was measured now.
Tell = Callable[[Job, TaskResult, bool], None]


@contextmanager
def opened(
    spec: Spec,
    rows: Sequence[Rows],
    model: MergedModel,
    out: Path,
    say: Callable[[str], None],
    pool_of: Callable[[Spec], Pool] | None = None,
) -> Iterator[Measuring]:
    """Open a folder to measure in: its store, and the workers.

    Args:
        spec: what to measure with.
        rows: those of the spec, loaded.
        model: of the spec's recipe.
        out: the folder.
        say: told of earlier results, and of what takes a while.
        pool_of: makes the workers; by default one in this process.

    Raises:
        HarnessError: another process works in the folder; a worker can't be made.
    """
    store = Store(out, model.made_with)
    pool: Pool | None = None
    try:
        for line in store.news():
            say(line)
        pool = pool_of(spec) if pool_of else LocalPool(Worker(spec, model, rows))
        yield Measuring(store, rows, spec.metric, pool, say)
    finally:
        if pool is not None:
            pool.close()
        store.close()


class Measuring:
    """Measures what the store does not have, and reads everything back once.

    Args:
        store: where measurements are.
        rows: of all roles.
        metric: what the score is.
        pool: who measures.
        say: told what is measured anew.
    """

    def __init__(
        self,
        store: Store,
        rows: Sequence[Rows],
        metric: str,
        pool: Pool,
        say: Callable[[str], None],
    ) -> None:
        self.store = store
        self.pool = pool
        self._metric = metric
        self._say = say
        self._digests = [(one, one.digest()) for one in rows]

    def measure(
        self, points: Sequence[tuple[str, Point]], role: str, tell: Tell
    ) -> dict[str, Measurement]:
        """The measurements of points on all rows of a role; those that are not there are made.

        Args:
            points: each with what it is called.
            role: of the rows.
            tell: told of each task at each point.

        Returns:
            What a point is called -> its measurement.

        Raises:
            HarnessError: one of them can't be made; what is finished is kept.
        """
        digests = {rows.name: digest for rows, digest in self._digests if rows.role == role}
        places = {place_of(point, role): (name, point) for name, point in points}
        for task, digest in digests.items():
            if self.store.outdated(places, task, digest):
                self._say(
                    f"{task} is measured anew: its rows, its settings, its code or their division "
                    "are not those of the earlier results"
                )
        waiting = deque(
            Job(name, point, role, task, keep=True)
            for name, point in places.values()
            for task in digests
        )
        results: dict[tuple[str, str], TaskResult] = {}

        def done(job: Job, now: bool) -> None:
            place = place_of(job.point, role)
            result = TaskResult.read(self.store.path(place, str(job.task)), self._metric)
            results[place, result.task] = result
            tell(job, result, now)

        under_way = 0
        while waiting or under_way:
            while waiting and under_way < self.pool.size:
                job = waiting.popleft()
                data = f"{role} {digests[str(job.task)]}"
                if self.store.has(place_of(job.point, role), str(job.task), data):
                    done(job, False)
                else:
                    self.pool.submit(job)
                    under_way += 1
            if under_way:
                outcome = self.pool.next()
                interrupt.check()
                self._keep(outcome, digests)
                done(outcome.job, True)
                under_way -= 1
        return {
            name: Measurement(
                point, role, tuple(results[place_of(point, role), task] for task in digests)
            )
            for name, point in points
        }

    def _keep(self, outcome: Outcome, digests: dict[str, str]) -> None:
        if outcome.error is not None:
            raise HarnessError(outcome.error)
        job = outcome.job
        for task, files in outcome.files.items():
            data = f"{job.role} {digests[task]}"
            with self.store.writing(place_of(job.point, job.role), task, data) as folder:
                for name, content in files.items():
                    (folder / name).write_bytes(content)


def place_of(point: Point, role: str) -> str:
    """Where a store has a point's measurements, whoever proposed it; see `Store.path`."""
    return f"{point.label}/{role}"


class Progress:
    """Tells of each measurement its score, how long it took and how long the rest may take.

    Args:
        say: told a line at a time.
        metric: what is told of a task.
        count: of measurements.
    """

    def __init__(self, say: Callable[[str], None], metric: str, count: int) -> None:
        self._say = say
        self._metric = metric
        self._count = count
        self._number = 0
        self._seconds: list[float] = []
        self._last = time.perf_counter()

    def tell(self, job: Job, result: TaskResult, measured: bool) -> None:
        """Tell of the next measurement.

        Args:
            job: which.
            result: what it gave.
            measured: False if it was there already.
        """
        self._number += 1
        now = time.perf_counter()
        took, self._last = now - self._last, now
        whole = result.sections[0]
        error = f" ± {whole.stderr:.3f}" if whole.stderr is not None else ""
        line = (
            f"{self._number}/{self._count}  {lambda_is(job.point.label)}  {result.task}  "
            f"{self._metric} {whole.score:.3f}{error}"
        )
        if not measured:
            self._say(f"{line}  (from an earlier run)")
            return
        self._seconds.append(took)
        left = self._count - self._number
        # The first one loads the model, too.
        typical = sorted(self._seconds)[len(self._seconds) // 2]
        more = f", about {duration(left * typical)} left" if left else ""
        self._say(f"{line}  ({duration(took)}{more})")
