# SPDX-License-Identifier: Apache-2.0
"""Experts in Ray's actors, one in each: rows go there as plain data, and answers come back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, at
from harness.models.actors.pool import ActorPool, Made, Words
from harness.models.load.processes import OneProcess, started_processes
from harness.models.reward import Reward
from harness.models.routing.devices import distinct
from harness.models.routing.expert_actor import Expert, Job, Outcome, Row
from harness.models.routing.slots import Slot
from harness.models.score import progress
from harness.rows.answer import Answer
from harness.rows.conversation import Message

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class RayExperts:
    """Experts in actors; see `harness.models.routing.devices.OnDevices`.

    Args:
        places: folder or Hub id by name, in the user's order.
        address: as `ActorPool`.
        most: actors, each of which has one expert in memory; None for one for each expert.
        arguments: of the models.

    Attributes:
        merges: none.
        first: what is asked about processes, and on whose device a router runs.
        loads: how often a model was loaded.

    Raises:
        HarnessError: an expert is no reward model; there is no such cluster.
    """

    merges = 0

    def __init__(
        self,
        places: Mapping[str, str],
        address: str,
        most: int | None,
        arguments: Mapping[str, Any],
    ) -> None:
        import torch

        processes = started_processes()
        if processes > 1:
            raise HarnessError(
                f"ray={address} is for one process, and here are {processes}: leave it out, or run "
                "lm_eval without a launcher"
            )
        self._places = dict(places)
        self._told: dict[str, dict[str, Any]] = {}
        self._weights: dict[str, int] = {}
        self.loads = 0
        device = str(arguments.get("device") or "")
        here = device or "cuda"
        if here.startswith("cuda") and not torch.cuda.is_available():
            here = "cpu"
        self.first = OneProcess(torch.device(here), arguments.get("batch_size", 1))
        workers = min(most or len(places), len(places))
        names = list(places)
        for name in names[workers:]:
            slot = Slot(name, places[name], lambda place: Reward(place, **arguments), arguments)
            with at(slot.where(name)):
                slot.look_at()
        paths = [*places.values(), *(one for one in arguments.values() if isinstance(one, str))]
        self._pool: ActorPool[Job, Outcome] = ActorPool(
            Made(Expert, (dict(arguments),), [path for path in paths if os.path.exists(path)]),
            address,
            workers,
            device=device,
            spread=str(arguments.get("parallelize")).lower() == "true",
            say=logger.info,
            words=Words("ray=", "max_loaded="),
        )
        try:
            self._pool.wait_for_all()
        except BaseException:
            self._pool.close()
            raise
        self._done([Job(name, places[name]) for name in names[:workers]])

    @property
    def parameters(self) -> int:
        """Weights of all experts that have been loaded."""
        return sum(self._weights.values())

    def in_order(self) -> list[str]:
        """All names; which actor has which, the pool of actors knows."""
        return list(self._places)

    def identities(self) -> dict[str, dict[str, str]]:
        """What each expert's reward depends on; loads each once."""
        jobs = [Job(name, place, tell="identity") for name, place in self._places.items()]
        told = self._done(jobs)
        return {name: told[name].told for name in self._places}

    def info(self) -> list[dict[str, Any]]:
        """What results.json says of each expert, in the user's order."""
        return [
            {"name": name, "pretrained": place, **self._told.get(name, {})}
            for name, place in self._places.items()
        ]

    def apply_chat_template(self, history: list[Message], add_generation_prompt: bool) -> str:
        """See `Reward`; by the first expert."""
        text: str = self._first_tells("apply_chat_template", history, add_generation_prompt)
        return text

    def chat_template(self, wanted: bool | str) -> str:
        """See `Reward`; the first expert's."""
        text: str = self._first_tells("chat_template", wanted)
        return text

    def score_all(
        self, wanted: Mapping[str, list[Instance]], quiet: bool
    ) -> dict[str, list[Answer]]:
        """Each expert's rewards of its requests.

        Raises:
            HarnessError: one fails; with its name.
        """
        rows = distinct(wanted)
        jobs = []
        for name, requests in wanted.items():
            logger.info("scoring %d rows with %s", len(requests), name)
            jobs.append(Job(name, self._places[name], [Row.of(one) for one in requests]))
        with progress.bar(sum(rows.values()), hidden=quiet) as bar:
            outcomes = self._done(jobs, lambda name: bar.update(rows[name]))
        return {name: [Answer.of(answer) for answer in outcomes[name].answers] for name in wanted}

    def _first_tells(self, what: str, *given: Any) -> Any:
        name, place = next(iter(self._places.items()))
        return self._done([Job(name, place, tell=what, given=given)])[name].told

    def _done(
        self, jobs: Sequence[Job], each: Callable[[str], Any] = lambda name: None
    ) -> dict[str, Outcome]:
        """The outcome of each expert's job; after a mistake the actors are let go."""
        outcomes = {}
        try:
            for job in jobs:
                self._pool.submit(job)
            for _ in jobs:
                one = self._pool.next()
                for line in one.warnings:
                    logger.warning("the expert %s: %s", one.name, line)
                self.loads += one.loaded
                self._told[one.name] = dict(one.info)
                self._weights[one.name] = one.weights
                outcomes[one.name] = one
                each(one.name)
        except BaseException:
            self._pool.close()
            raise
        return outcomes
