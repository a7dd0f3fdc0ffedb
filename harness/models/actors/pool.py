# SPDX-License-Identifier: Apache-2.0
"""Jobs done by Ray actors, each with something live on a GPU or on a share of the cores.

Ray (https://docs.ray.io) places the actors, here or on a cluster. A lost actor, be it that its
process was killed or that its node went away, is replaced, and its job is done by another one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from harness.errors import HarnessError, first_line
from harness.models.actors import cluster
from harness.models.actors.actor import Actor, Setting


class Job(Protocol):
    """What an actor is asked for; it can be pickled."""

    @property
    def label(self) -> str:
        """Names it, for messages."""

    @property
    def subject(self) -> Hashable:
        """What an actor is set to by it: the next one with the same goes to the same actor."""


J = TypeVar("J", bound=Job)
R = TypeVar("R")


@dataclass(frozen=True)
class Made:
    """What each actor makes, to do jobs with.

    Attributes:
        by: makes it, with a ``run`` that takes a job; a class or function that can be imported.
        given: to it.
        files: that it reads, as the user names them; every node needs them.
    """

    by: Callable[..., Any]
    given: Sequence[Any]
    files: Sequence[str] = ()


@dataclass(frozen=True)
class Words:
    """How the user has asked for actors, for messages.

    Attributes:
        ray: the option with the address.
        workers: the option that says how many there are.
    """

    ray: str = cluster.OPTION
    workers: str = "--workers"


@dataclass(eq=False)
class _Task:
    job: Any
    lost: int = 0  # so many workers were lost with it


@dataclass(eq=False)
class _Worker:
    actor: Any
    doing: Any  # Ray's reference to the result of what it does; None: idle
    pid: int | None = None  # None: it is starting
    task: _Task | None = None
    subject: Any = None  # that it was set to last


class ActorPool(Generic[J, R]):
    """Actors that take jobs, and give their results as they come.

    Args:
        made: what each of them makes.
        address: ``local`` starts Ray on this machine; ``auto`` joins the cluster that RAY_ADDRESS
            names or that this machine belongs to; anything else is a cluster's address. Where this
            process is connected to Ray already, that is used.
        workers: how many actors; see `harness.models.actors.cluster.divide`.
        device: that models are loaded on; empty where the user does not say.
        spread: a model is spread over GPUs.
        retries: how often a job whose worker was lost is tried again.
        say: told, in a line each, of the workers and of every loss.
        words: the user's options.

    Attributes:
        size: how many actors there are.

    Raises:
        HarnessError: Ray is not installed, or there is no such cluster; a device that no actor has.
    """

    def __init__(
        self,
        made: Made,
        address: str,
        workers: int | None,
        *,
        device: str = "",
        spread: bool = False,
        retries: int = 3,
        say: Callable[[str], None] = lambda text: None,
        words: Words = Words(),  # immutable
    ) -> None:
        if re.fullmatch(r"cuda:0*[1-9]\d*", device):
            raise HarnessError(
                f"--model_args device={device}: with Ray each worker sees its own GPUs; leave it "
                "out"
            )
        self._retries = retries
        self._say = say
        self._words = words
        self._waiting: deque[_Task] = deque()
        self._workers: list[_Worker] = []
        self._lost_at_start = 0
        self._ray = cluster.ray_module(words.ray)
        self._shut_down = cluster.connect(address, words.ray)
        try:
            division = cluster.divide(workers, on_cpu=device == "cpu", spread=spread)
            say(division.told())
            self.size = division.workers
            self._setting = Setting.here(division.threads, remote=address != "local")
            runtime = {"env_vars": self._setting.at_start()}
            self._actor = self._ray.remote(Actor).options(**division.ask, runtime_env=runtime)
            self._made = made
            for _ in range(self.size):
                self._add()
        except BaseException:
            self.close()
            raise

    def submit(self, job: J) -> None:
        """Start a job, as soon as an actor is idle."""
        self._waiting.append(_Task(job))
        self._hand_out()

    def next(self) -> R:
        """Wait for any job that was submitted; what is raised in a worker is raised here as it is.

        Raises:
            HarnessError: a job's worker was lost again and again, or no worker can be started.
        """
        if not self._waiting and not any(worker.task for worker in self._workers):
            raise IndexError("no job was submitted")
        while True:
            self._hand_out()
            worker, result = self._step()
            if worker is not None:
                outcome: R = result
                return outcome

    def wait_for_all(self) -> None:
        """Wait until every actor has started, before the first job: then each gets one of its own.

        Raises:
            HarnessError: one can't be started.
        """
        while any(worker.pid is None for worker in self._workers):
            self._step()

    def close(self) -> None:
        """Let the actors go, whatever they do, and end Ray where this has started or joined it."""
        if self._shut_down:
            self._ray.shutdown()  # and all actors with it
            self._shut_down = False
        else:
            for worker in self._workers:
                self._ray.kill(worker.actor)
        self._workers.clear()

    def _add(self) -> None:
        actor, made = self._actor.remote(self._setting), self._made
        self._workers.append(_Worker(actor, actor.start.remote(made.by, made.given, made.files)))

    def _step(self) -> tuple[_Worker | None, Any]:
        """Wait until an actor has done something: who has done a job, and its outcome; or nobody.

        Nobody has where one was lost or has started.
        """
        busy = [worker for worker in self._workers if worker.doing is not None]
        # Those that start come first, so that a stream of outcomes does not keep them waiting.
        busy.sort(key=lambda worker: worker.pid is not None)
        (done,), _ = self._ray.wait([worker.doing for worker in busy], num_returns=1)
        worker = next(worker for worker in busy if worker.doing == done)
        try:
            result = self._result(worker)
        except _Lost as lost:
            self._replace(worker, str(lost))
            return None, None
        worker.doing = None
        if worker.task is None:
            worker.pid, self._lost_at_start = result, 0
            return None, None
        worker.task = None
        return worker, result

    def _hand_out(self) -> None:
        for task in list(self._waiting):
            idle = [worker for worker in self._workers if worker.doing is None]
            if not idle:
                return
            subject = task.job.subject
            same = (one for one in idle if one.subject == subject)
            fresh = (one for one in idle if one.subject is None)
            worker = next(same, next(fresh, idle[0]))
            self._waiting.remove(task)
            worker.task, worker.subject = task, subject
            worker.doing = worker.actor.run.remote(task.job)

    def _result(self, worker: _Worker) -> Any:
        errors = self._ray.exceptions
        lost = (
            errors.RayActorError,
            errors.NodeDiedError,
            errors.ObjectLostError,
            errors.OutOfMemoryError,
            errors.WorkerCrashedError,
        )
        try:
            return self._ray.get(worker.doing)
        except errors.RayTaskError as error:
            raise error.cause from error
        except lost as error:
            if getattr(error, "actor_init_failed", False):
                last = str(error).splitlines()[-1]
                raise HarnessError(
                    f"Ray can't make a worker ({last}): every node needs this dogerm installed"
                ) from error
            raise _Lost(_reason(error)) from error
        except errors.RayError as error:
            raise HarnessError(f"Ray: {first_line(error)}") from error

    def _replace(self, worker: _Worker, reason: str) -> None:
        self._ray.kill(worker.actor)  # it may only be out of reach
        self._workers.remove(worker)
        task = worker.task
        if task is None:
            self._lost_at_start += 1
            what, lost = "a worker that was starting", self._lost_at_start
        else:
            task.lost += 1
            what, lost = f"the worker of {task.job.label}", task.lost
        if lost > self._retries:
            raise HarnessError(
                f"{what} was lost {lost} times in a row ({reason}): is there memory for "
                f"{self.size} models? {self._words.workers} says how many"
            )
        self._say(f"{what} was lost ({reason}); another one takes its place")
        if task is not None:
            self._waiting.appendleft(task)
        self._add()


class _Lost(Exception):
    pass


def _reason(error: BaseException) -> str:
    cause = re.search(r"is dead because ([^.\n]+)", str(error))
    return cause[1].replace("`", "") if cause else first_line(error)
