# SPDX-License-Identifier: Apache-2.0
"""The experts on one or several devices: each device has its share, and all score at once.

Devices work in threads. Models are loaded and merged between their turns, by the main thread: while
transformers loads one, torch's default dtype is that model's, for every thread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, at
from harness.models.load.arguments import COMMANDS_DEVICE, check_device
from harness.models.load.processes import started_processes
from harness.models.reward import Reward
from harness.models.routing.merged import slots_of
from harness.models.routing.pool import Pool
from harness.models.score import bounds, progress
from harness.models.score.requests import key_of
from harness.rows.answer import Answer
from harness.rows.conversation import Message

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from dogerm_plugin.recipe.router import ExpertRecipe

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

_SEPARATOR = ";"


def chosen(devices: str | Sequence[str] | None, arguments: Mapping[str, Any]) -> list[str]:
    """The devices that experts go to; none: where each model goes by itself.

    Args:
        devices: as the user gives them, ``cuda:0;cuda:1``; None for all GPUs, if there are several,
            one process runs and nothing else says where models go.
        arguments: of the models.

    Raises:
        HarnessError: one is not here, or something else says where models go.
    """
    import torch

    elsewhere = [
        f"{name}={arguments[name]}"
        for name in ("device", "parallelize", "tp_plan")
        if str(arguments.get(name)).lower() not in ("none", "false", COMMANDS_DEVICE)
    ]
    processes = started_processes()
    if devices is None:
        count = torch.cuda.device_count()
        if elsewhere or processes > 1 or count < 2:
            return []
        return [f"cuda:{number}" for number in range(count)]
    listed = devices.split(_SEPARATOR) if isinstance(devices, str) else list(devices)
    named = [str(one).strip() for one in listed]
    told = f"devices={_SEPARATOR.join(named)}"
    if elsewhere:
        raise HarnessError(
            f"{told} and {elsewhere[0]} both say where the experts go: give one of them"
        )
    if processes > 1:
        raise HarnessError(
            f"{told} is for one process, and here are {processes}, each with its own device: leave "
            "it out"
        )
    for one in named:
        check_device(one, "devices")
    return named


def ask(name: str, model: Reward, requests: list[Instance], quiet: bool) -> list[Answer]:
    """An expert's rewards of requests, in their order.

    Raises:
        HarnessError: it fails; with its name.
    """
    with at(f"the expert {name}"):
        return [Answer.of(one) for one in model.loglikelihood(requests, disable_tqdm=quiet)]


def distinct(wanted: Mapping[str, list[Instance]]) -> dict[str, int]:
    """Each expert's rows as its model counts them: equal conversations are one."""
    return {name: len({key_of(one.args) for one in own}) for name, own in wanted.items()}


class OnDevices:
    """Experts in this process, on one device or on several; as `Pool`, and all at once.

    Args:
        places: folder or Hub id by name, in the user's order; of a recipe, what tells of it.
        recipes: the experts that are made by merging.
        devices: as `chosen` gives them.
        most: models in memory at a time, on each device; None for all.
        arguments: of the models.

    Raises:
        HarnessError: an expert is no reward model.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        recipes: Mapping[str, ExpertRecipe],
        devices: Sequence[str],
        most: int | None,
        arguments: Mapping[str, Any],
    ) -> None:
        self._names = list(places)
        used = devices[: len(places)]
        if len(used) < len(devices):
            logger.warning("there are %d experts: %s stays idle", len(places), devices[len(used)])
        self._pools: list[Pool] = []
        for number in range(len(used) or 1):
            share = self._names[number :: len(used) or 1]
            options = {**arguments, "device": used[number]} if used else dict(arguments)
            if len(used) > 1:
                logger.info("%s: %s", used[number], ", ".join(share))
            own = {name: places[name] for name in share}
            merged = {name: recipe for name, recipe in recipes.items() if name in own}
            self._pools.append(Pool(slots_of(own, merged, options), most))

    @property
    def first(self) -> Reward:
        """The model that was loaded first; see `Pool`."""
        return self._pools[0].first

    @property
    def loads(self) -> int:
        """How often a model was loaded."""
        return sum(pool.loads for pool in self._pools)

    @property
    def parameters(self) -> int:
        """Weights of all experts that have been loaded."""
        return sum(pool.parameters for pool in self._pools)

    @property
    def merges(self) -> int:
        """How often a merge was written into a loaded model."""
        return sum(pool.merges for pool in self._pools)

    def in_order(self) -> list[str]:
        """All names, on each device those that are loaded first."""
        return [name for pool in self._pools for name in pool.in_order()]

    def get(self, name: str) -> Reward:
        """An expert's model, loaded."""
        return self._pool(name).get(name)

    def identities(self) -> dict[str, dict[str, str]]:
        """What each expert's reward depends on; loads each once."""
        return {name: self._pool(name).identity(name) for name in self.in_order()}

    def info(self) -> list[dict[str, Any]]:
        """What results.json says of each expert, in the user's order."""
        told = {one["name"]: one for pool in self._pools for one in pool.info()}
        return [told[name] for name in self._names]

    def apply_chat_template(self, history: list[Message], add_generation_prompt: bool) -> str:
        """See `Reward`; by the first expert."""
        return self.first.apply_chat_template(history, add_generation_prompt)

    def chat_template(self, wanted: bool | str) -> str:
        """See `Reward`; the first expert's."""
        return self.first.chat_template(wanted)

    def score_all(
        self, wanted: Mapping[str, list[Instance]], quiet: bool
    ) -> dict[str, list[Answer]]:
        """Each expert's rewards of its requests.

        Raises:
            HarnessError: one fails; with its name. The other devices stop at their next batch.
        """
        queues = [[n for n in pool.in_order() if n in wanted] for pool in self._pools]
        answers: dict[str, list[Answer]] = {}
        if len(self._pools) == 1:
            for name in queues[0]:
                logger.info("scoring %d rows with %s", len(wanted[name]), name)
                answers[name] = ask(name, self.get(name), wanted[name], quiet)
            return answers
        with progress.together(sum(distinct(wanted).values()), hidden=quiet) as bar:
            while any(queues):
                turns: list[list[tuple[str, Reward]]] = []
                for pool, queue in zip(self._pools, queues, strict=True):
                    now = pool.at_once(queue)
                    queue[:] = [name for name in queue if name not in now]
                    turns.append([(name, pool.get(name)) for name in now])
                answers |= _at_once(turns, wanted, bar)
        return answers

    def _pool(self, name: str) -> Pool:
        return next(pool for pool in self._pools if name in pool)


def _at_once(
    turns: Sequence[Sequence[tuple[str, Reward]]],
    wanted: Mapping[str, list[Instance]],
    bar: progress.Together,
) -> dict[str, list[Answer]]:
    """The answers of loaded models: each turn's one after the other, in a thread of its own."""
    answers: dict[str, list[Answer]] = {}

    def work(turn: Sequence[tuple[str, Reward]]) -> None:
        for name, model in turn:
            with bounds.beside_others(), _current(model.device):
                logger.info("%s: scoring %d rows with %s", model.device, len(wanted[name]), name)
                answers[name] = ask(name, model, wanted[name], True)

    with ThreadPoolExecutor(len(turns), "device") as threads:
        begun = [threads.submit(copy_context().run, work, turn) for turn in turns if turn]
        try:
            done, _ = wait(begun, return_when=FIRST_EXCEPTION)
            if any(one.exception() for one in done):
                bar.stop()
        except BaseException:  # the user has had enough
            bar.stop()
            raise
    for error in [one.exception() for one in begun]:
        if error is not None and not isinstance(error, progress.Stopped):
            raise error
    return answers


@contextmanager
def _current(device: Any) -> Iterator[None]:
    """What is made without a device, by a library's kernel for one, is this GPU's."""
    import torch

    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        yield
