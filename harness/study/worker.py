# SPDX-License-Identifier: Apache-2.0
"""One loaded model that measures merges: what a process, or an actor elsewhere, does for a study.

A `Spec` makes a `Worker` anywhere, a `Job` says what to measure, an `Outcome` has all that is
wanted of it: nothing is written, so workers need no folder in common. A `Pool` is where workers
take jobs: here, or elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from harness.errors import HarnessError
from harness.study import identity, machine, rungs
from harness.study.evaluate import evaluate
from harness.study.merged_model import MergedModel
from harness.study.race_order import RACE, Order, Part
from harness.study.recipe import Point
from harness.study.remembering import ANSWERS, Answers, Remembering, as_file
from harness.study.rows import SELECT, Rows
from harness.study.spec import Spec


@dataclass(frozen=True)
class Job:
    """A measurement that a worker is asked for: which point, on which rows.

    Attributes:
        label: names it: ``trial 17``, or λ for a point of a sweep.
        point: which merge.
        role: `SELECT` or `REPORT` of `harness.study.rows`.
        task: one of the role's; None: all of them.
        share: of the selection rows, in 0..1; see `harness.study.rungs`.
        keep: whether the outcome has the run's files.
        part: of a race: these units of the selection rows alone; the outcome's files have the
            answers, too.
        known: answers to some of the rows, at this point; they are not scored again.
    """

    label: str
    point: Point
    role: str = SELECT
    task: str | None = None
    share: float = 1.0
    keep: bool = False
    part: Part | None = None
    known: Answers = ()

    @property
    def place(self) -> str:
        """Where a store has what it gives; see `Store.path`."""
        place = place_of(self.point, self.role)
        return place if self.part is None else f"{place_of(self.point, RACE)}/{self.part}"

    @property
    def subject(self) -> Point:
        """What a worker's model is set to by it."""
        return self.point


def place_of(point: Point, role: str) -> str:
    """Where a store has a point's measurements, whoever proposed it; see `Store.path`."""
    return f"{point.label}/{role}"


@dataclass(frozen=True)
class Cost:
    """What a measurement took.

    Attributes:
        merge_seconds: to set the point.
        score_seconds: to score the rows.
        peak_memory: resident memory of the process, bytes.
        model_bytes: what the loaded model's tensors take.
    """

    merge_seconds: float = 0.0
    score_seconds: float = 0.0
    peak_memory: int = 0
    model_bytes: int = 0

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Cost:
        """The cost that a run's settings, or a trial, tell of."""
        return cls(**{one.name: about[one.name] for one in fields(cls)})


@dataclass(frozen=True)
class Outcome:
    """What a job gave: scores and what they cost, or why there are none.

    Attributes:
        job: which.
        error: why there is none (all else is empty then): a merge or a reward that is no finite
            number.
        results: task -> lm-eval's results.
        scored: conversations that were scored for this job.
        cost: what it took.
        files: task -> file name -> content of the files of an lm-eval run, where ``job.keep``.
    """

    job: Job
    error: str | None = None
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scored: int = 0
    cost: Cost = field(default_factory=Cost)
    files: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


class Worker:
    """Measures one job after another with one loaded model.

    Args:
        spec: what to measure with.
        model: made already for `spec.recipe` and `spec.settings`.
        rows: loaded already.

    Raises:
        MergeError: the recipe's models don't make a merge.
        HarnessError: a task or an argument is wrong; or models, data or versions are not those of
            `spec.identity`.
    """

    def __init__(
        self, spec: Spec, model: MergedModel | None = None, rows: Sequence[Rows] | None = None
    ) -> None:
        self._model = model or MergedModel(spec.recipe, spec.settings, methods=spec.methods)
        self._rows = list(rows or spec.load_rows())
        self._spec = spec
        self._answers: Remembering | None = None
        self._order: Order | None = None
        self._told: set[tuple[str, str]] = set()
        if spec.identity:
            identity.check(spec.identity, identity.identity(self._model, self._rows, spec.metric))

    def run(self, job: Job) -> Outcome:
        """Measure a merge; a mistake that only this job's merge makes is told in the outcome."""
        from dogerm_plugin.errors import MergeError

        self._model.loaded  # noqa: B018  (loads it: a mistake in that is no point's own)
        try:
            return self._measured(job)
        except (HarnessError, MergeError) as error:
            return Outcome(job, error=" ".join(str(error).split()))

    def _measured(self, job: Job) -> Outcome:
        model, seconds = self._set(job.point)
        if job.part is not None:
            model.forget()  # the file has this part's answers alone
        model.learn(job.known)
        began, before = time.perf_counter(), model.scored
        results: dict[str, dict[str, Any]] = {}
        files: dict[str, dict[str, bytes]] = {}
        for rows in self._wanted(job):
            about = self._about(job.point, 0.0 if results else seconds)
            warn = (rows.role, rows.name) not in self._told
            told_as = f"merged with {job.point}"
            with self._part_of(rows, job) as part:
                done = evaluate(model, part, about, told_as=told_as, warn=warn)
            self._told.add((rows.role, rows.name))
            results[rows.name] = done.results
            if job.keep:
                files[rows.name] = dict(done.files)
            if job.part is not None:
                files[rows.name][ANSWERS] = as_file(model.answers)
        return Outcome(
            job=job,
            results=results,
            scored=model.scored - before,
            cost=Cost(
                merge_seconds=seconds,
                score_seconds=time.perf_counter() - began,
                peak_memory=machine.peak_memory(),
                model_bytes=self._model.bytes(),
            ),
            files=files,
        )

    def _wanted(self, job: Job) -> list[Rows]:
        """The tasks and groups that a job is about."""
        found = [one for one in self._rows if one.role == job.role]
        if job.part is not None:
            if self._order is None or self._order.name != job.part.order:
                self._order = Order(found, job.part.order)
            found = [one for one in found if self._order.has_any(one, job.part)]
        return [one for one in found if job.task in (None, one.name)]

    def _part_of(self, rows: Rows, job: Job) -> AbstractContextManager[Rows]:
        """The rows that a job is about, for a while."""
        if job.part is None:
            return rungs.part(rows, job.share)
        assert self._order is not None
        return self._order.part(rows, job.part)

    def _set(self, point: Point) -> tuple[Remembering, float]:
        if self._answers is None:
            self._answers = Remembering(self._model.loaded)
        if self._model.set_to != point:
            self._answers.forget()
        return self._answers, self._model.set(point)

    def _about(self, point: Point, merge_seconds: float) -> dict[str, Any]:
        """The settings in an lm-eval run's results."""
        settings = self._spec.settings
        return {
            "model": "reward",
            "model_args": {**settings.model_args, "recipe": self._spec.recipe.path},
            **point.named,
            "batch_size": str(settings.batch_size),
            "merge_seconds": merge_seconds,
            "model_bytes": self._model.bytes(),
        }


class Pool(Protocol):
    """Where workers take jobs: in this process, or elsewhere.

    At most `size` jobs are submitted at a time; each goes to a worker that is idle. A trial's next
    rung is submitted right after its last outcome was taken, so that it goes to the worker that
    just became idle, which holds the trial's merge and remembers the rows that it has scored.
    """

    @property
    def size(self) -> int:
        """How many jobs can be under way."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def next(self) -> Outcome:
        """Wait for any job that was submitted, and give its outcome.

        Raises:
            HarnessError: a job's worker was lost again and again, or no worker can be started.
        """

    def close(self) -> None:
        """Let the workers go, whatever they do."""


class LocalPool:
    """One worker in this process; the work is done in `next`."""

    size = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waiting: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """See `Pool`."""
        self._waiting.append(job)

    def next(self) -> Outcome:
        """See `Pool`."""
        return self._worker.run(self._waiting.popleft())

    def close(self) -> None:
        """See `Pool`."""
