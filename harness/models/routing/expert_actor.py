# SPDX-License-Identifier: Apache-2.0
"""What a Ray actor of a router does: one reward model at a time, and jobs for it as plain data."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import at
from harness.models.reward import Reward
from harness.models.routing.devices import ask

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class Row(NamedTuple):
    """A request as it travels.

    Attributes:
        context: with its messages, where it has some.
        response: with its messages, where it is more than a text.
        task: its name.
        document: lm-eval's number of its document.
        number: of the response in the document.
    """

    context: str
    response: str
    task: str | None
    document: int | None
    number: int

    @classmethod
    def of(cls, request: Instance) -> Row:
        """A request's."""
        context, response = request.args[:2]
        return cls(context, response, request.task_name, request.doc_id, request.idx)

    def request(self) -> Instance:
        """It as lm-eval's request again, without its document."""
        from lm_eval.api.instance import Instance

        about = self.task, self.document, 1
        return Instance("loglikelihood", {}, (self.context, self.response), self.number, about)


@dataclass(frozen=True)
class Job:
    """What an expert is asked for: to score rows, or to tell something; it is loaded for that.

    Attributes:
        subject: the expert's name.
        place: folder or Hub id.
        rows: to score.
        tell: the method of `Reward` whose result is wanted.
        given: to that.
    """

    subject: str
    place: str
    rows: Sequence[Row] = ()
    tell: str | None = None
    given: tuple[Any, ...] = ()

    @property
    def label(self) -> str:
        """Names it, for messages."""
        return f"the expert {self.subject}"


@dataclass(frozen=True)
class Outcome:
    """What an expert gives.

    Attributes:
        name: the expert's.
        answers: to the rows, in their order.
        told: what was to be told.
        info: what results.json says of it, and where it is.
        weights: how many it has.
        loaded: it had to be loaded for this.
        warnings: what was logged meanwhile.
    """

    name: str
    answers: Sequence[tuple[Any, ...]]
    told: Any
    info: Mapping[str, Any]
    weights: int
    loaded: bool
    warnings: Sequence[str]


class Expert:
    """What runs in an actor: one reward model at a time.

    Args:
        arguments: of each model.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self._name: str | None = None
        self._model: Reward | None = None

    def run(self, job: Job) -> Outcome:
        """See `Job`.

        Raises:
            HarnessError: it is no reward model, or a row can't be scored; with its name.
        """
        with _warnings() as said:
            kept = self._model if job.subject == self._name else None
            model = self._set_to(job) if kept is None else kept
            requests = [row.request() for row in job.rows]
            answers = ask(job.subject, model, requests, True) if requests else []
            told = getattr(model, job.tell)(*job.given) if job.tell is not None else None
        import ray

        where = {"node": ray.util.get_node_ip_address(), "process": os.getpid()}
        return Outcome(
            name=job.subject,
            answers=[tuple(answer) for answer in answers],
            told=told,
            info={"device": str(model.device), **where, **model.get_model_info()},
            weights=sum(one.numel() for one in model.model.parameters()),
            loaded=kept is None,
            warnings=said,
        )

    def _set_to(self, job: Job) -> Reward:
        if self._model is not None:
            self._model.release()
            self._model = None
            gc.collect()
        with at(job.label):
            self._model = Reward(job.place, **self._arguments)
        self._name = job.subject
        return self._model


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What is logged meanwhile; else nobody would see it, for Ray keeps an actor's output apart."""
    said: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Kept(logging.WARNING)
    logging.getLogger("lm_eval").addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger("lm_eval").removeHandler(handler)
