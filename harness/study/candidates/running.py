# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a study that are not there yet, each after those that it needs."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dogerm_plugin.files.atomic import write_text
from harness.errors import HarnessError
from harness.show.numbers import duration
from harness.study import interrupt
from harness.study.candidates import child
from harness.study.candidates.kept import Record
from harness.study.candidates.steps import Step


@dataclass(frozen=True)
class Job:
    """A step for a worker; it can be pickled."""

    step: Step
    folder: Path
    out: Path

    @property
    def label(self) -> str:
        """Names it, for messages."""
        return self.step.told

    @property
    def subject(self) -> Hashable:
        """Any worker will do."""
        return self.step.name


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Attributes:
        error: why it failed; None: it did not.
    """

    job: Job
    error: str | None


class Worker:
    """Runs one command after another, each in a process of its own."""

    def run(self, job: Job) -> Outcome:
        """Run a step; its folder and record are in the study's folder, which all workers share."""
        step, record = job.step, Record(job.out, job.step.name)
        record.begin(step.made_with, step.output, keeps=step.keeps)
        step.output.parent.mkdir(parents=True, exist_ok=True)
        for name, text in step.files.items():
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(job.out / name, text)
        began = time.monotonic()
        try:
            child.run(step.called, job.folder, job.out / "logs" / f"{step.name}.log")
        except HarnessError as error:
            return Outcome(job, " ".join(str(error).split()))
        record.finish(step.made_with, time.monotonic() - began)
        return Outcome(job, None)


class Pool(Protocol):
    """Where workers take jobs, at most `size` at a time."""

    @property
    def size(self) -> int:
        """How many can be under way."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def next(self) -> Outcome:
        """Wait for any job, and give its outcome."""

    def close(self) -> None:
        """Let the workers go."""


class LocalPool:
    """One worker in this process."""

    size = 1

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """See `Pool`."""
        self._waiting.append(job)

    def next(self) -> Outcome:
        """See `Pool`."""
        return Worker().run(self._waiting.popleft())

    def close(self) -> None:
        """See `Pool`."""


def ray_pool(address: str, workers: int | None, say: Callable[[str], None]) -> Pool:
    """Actors that run steps, each with its GPU or share of the cores.

    Args:
        address: as `harness.models.actors.pool.ActorPool`.
        workers: how many; None: as many as there are GPUs, or one.
        say: told of the workers.

    Raises:
        HarnessError: Ray is not installed, or there is no such cluster.
    """
    from harness.models.actors.pool import ActorPool, Made

    pool: ActorPool[Job, Outcome] = ActorPool(Made(Worker, ()), address, workers, say=say)
    return pool


@dataclass
class Run:
    """What is there of a study's steps, and what went wrong.

    Attributes:
        steps: in an order in which they can be run.
        kept: the names of those that were there before.
        failed: step -> why it has no result.
    """

    steps: Sequence[Step]
    kept: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


def is_kept(step: Step, out: Path, fresh: Iterable[str] = ()) -> bool:
    """Whether a step is there already, and nothing it needs is made anew.

    Args:
        step: which.
        out: the study's folder.
        fresh: the names of the steps that are made anew.
    """
    again = set(step.needs) & set(fresh)
    return not again and Record(out, step.name).is_finished(step.made_with, step.output)


def divided(steps: Sequence[Step], out: Path) -> tuple[list[Step], list[Step]]:
    """Those that are there, and those that are to be run."""
    there: list[Step] = []
    waiting: list[Step] = []
    for step in steps:
        fresh = [one.name for one in waiting]
        (there if is_kept(step, out, fresh) else waiting).append(step)
    return there, waiting


def run(
    steps: Sequence[Step],
    folder: Path,
    out: Path,
    pool_of: Callable[[], Pool],
    say: Callable[[str], None],
) -> Run:
    """Run what is not there; a step that fails takes those that need it with it, and no other.

    Args:
        steps: in an order in which they can be run.
        folder: where the commands run.
        out: the study's folder; absolute.
        pool_of: makes the workers.
        say: told of each step before it begins, how many are left and for about how long.
    """
    there, waiting = divided(steps, out)
    result = Run(steps, {one.name for one in there})
    if there:
        say(f"{len(there)} of {len(steps)} steps are there already")
    if not waiting:
        return result
    unfinished = {step.name for step in waiting}
    clock = _Clock(there, out)
    pool = pool_of()
    under_way: dict[str, Step] = {}
    try:
        while waiting or under_way:
            for step in list(waiting):
                lost = [name for name in step.needs if name in result.failed]
                if lost:
                    waiting.remove(step)
                    cause = next(one for one in steps if one.name == lost[0])
                    why = result.failed[lost[0]]
                    own = cause.variant.label == step.variant.label
                    result.failed[step.name] = why if own else f"{cause.variant.told}: {why}"
                    unfinished.discard(step.name)
                elif len(under_way) < pool.size and not set(step.needs) & unfinished:
                    waiting.remove(step)
                    number = len(steps) - len(waiting)
                    more = clock.left([step, *waiting], pool.size)
                    changed = Record(out, step.name).changed(step.made_with)
                    why = f"; made again: {changed[0]}" if changed else ""
                    say(f"[{number}/{len(steps)}] {step.told}{more}{why}")
                    under_way[step.name] = step
                    clock.begin(step)
                    pool.submit(Job(step, folder, out))
            if under_way:
                outcome = pool.next()
                interrupt.check()
                step = under_way.pop(outcome.job.step.name)
                unfinished.discard(step.name)
                clock.end(step)
                if outcome.error is not None:
                    result.failed[step.name] = outcome.error
                    say(f"failed: {step.told}: {outcome.error}")
    finally:
        pool.close()
    return result


class _Clock:
    """How long the rest may take: by the median of what steps of each kind took."""

    def __init__(self, there: Iterable[Step], out: Path) -> None:
        self._began: dict[str, float] = {}
        self._took: dict[str, list[float]] = {}
        for step in there:
            took = Record(out, step.name).read()["seconds"]
            self._took.setdefault(step.kind, []).append(took)

    def begin(self, step: Step) -> None:
        self._began[step.name] = time.monotonic()

    def end(self, step: Step) -> None:
        took = time.monotonic() - self._began[step.name]
        self._took.setdefault(step.kind, []).append(took)

    def left(self, steps: Sequence[Step], workers: int) -> str:
        """In words; nothing before the first step has ended."""
        typical: Mapping[str, float] = {k: statistics.median(v) for k, v in self._took.items()}
        if not typical:
            return ""
        other = statistics.mean(typical.values())
        seconds = sum(typical.get(step.kind, other) for step in steps) / workers
        return f" (about {duration(seconds)} left)"
