# SPDX-License-Identifier: Apache-2.0
"""The loop that measures points and keeps what it measured, for sweeps and searches alike.

What comes out is a `Measurement`: scores, what they cost, and the items behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.runs import identity
from harness.runs.results import Run, find_run
from harness.study import choose, interrupt
from harness.study.choose import Score, SectionScore
from harness.study.merged_model import MergedModel
from harness.study.recipe import Point
from harness.study.remembering import Answers
from harness.study.rows import Rows
from harness.study.spec import Spec
from harness.study.store import Store
from harness.study.worker import Cost, Job, LocalPool, Outcome, Pool, Worker, place_of


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
        self,
        points: Sequence[tuple[str, Point]],
        role: str,
        tell: Tell,
        known: Callable[[Point, str], Answers] | None = None,
    ) -> dict[str, Measurement]:
        """The measurements of points on all rows of a role; those that are not there are made.

        Args:
            points: each with what it is called.
            role: of the rows.
            tell: told of each task at each point.
            known: gives answers that there are of a point's rows of a task; see `Job.known`.

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
        results = self.run(
            (
                Job(name, point, role, task, keep=True, known=known(point, task) if known else ())
                for name, point in places.values()
                for task in digests
            ),
            tell,
        )
        return {
            name: Measurement(
                point, role, tuple(results[place_of(point, role), task] for task in digests)
            )
            for name, point in points
        }

    def run(self, jobs: Iterable[Job], tell: Tell) -> dict[tuple[str, str], TaskResult]:
        """The results of jobs of one task each, as `Job.place` and task; see `measure`.

        Raises:
            HarnessError: one of them can't be done; what is finished is kept.
        """
        waiting = iter(jobs)
        results: dict[tuple[str, str], TaskResult] = {}

        def done(job: Job, now: bool) -> None:
            result = TaskResult.read(self.store.path(job.place, str(job.task)), self._metric)
            results[job.place, result.task] = result
            tell(job, result, now)

        under_way, left = 0, True
        while left or under_way:
            while left and under_way < self.pool.size:
                job = next(waiting, None)
                if job is None:
                    left = False
                elif self.has(job):
                    done(job, False)
                else:
                    self.pool.submit(job)
                    under_way += 1
            if under_way:
                outcome = self.pool.next()
                interrupt.check()
                self._keep(outcome)
                done(outcome.job, True)
                under_way -= 1
        return results

    def has(self, job: Job) -> bool:
        """Whether what a job of one task would give is there, and of the data at hand."""
        return self.store.has(job.place, str(job.task), self._data(job, str(job.task)))

    def _data(self, job: Job, task: str) -> str:
        """What a measurement is of; a part is one of all rows of its role together."""
        of_role = {one.name: digest for one, digest in self._digests if one.role == job.role}
        if job.part is None:
            return f"{job.role} {of_role[task]}"
        return f"{job.role} {job.part} {identity.digest(of_role)}"

    def _keep(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            raise HarnessError(outcome.error)
        job = outcome.job
        for task, files in outcome.files.items():
            with self.store.writing(job.place, task, self._data(job, task)) as folder:
                for name, content in files.items():
                    (folder / name).write_bytes(content)
