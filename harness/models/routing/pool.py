# SPDX-License-Identifier: Apache-2.0
"""The experts' models: loaded when they are needed, at most so many at a time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from typing import Any

from harness.errors import at
from harness.models.reward import Reward
from harness.models.routing.slots import Slot

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class Pool:
    """Reward models by name, of which the least recently used goes when another is needed.

    As many as fit are loaded at once, so that a mistake in one is found before the first has
    scored; of the others config and head are looked at.

    Args:
        slots: what is loaded: a checkpoint, or a model that becomes several experts in turn.
        most: that are loaded at a time; None for all.

    Attributes:
        first: the model that was loaded first; it goes on telling of processes and templates when
            its weights are gone.
        loads: how often a model was loaded.

    Raises:
        HarnessError: an expert is no reward model.
    """

    def __init__(self, slots: Sequence[Slot], most: int | None) -> None:
        self._slots = slots
        self._of = {name: slot for slot in slots for name in slot.names}
        self._most = len(slots) if most is None else most
        self._loaded: dict[Slot, Reward] = {}  # the least recently used first
        self._told: dict[str, dict[str, Any]] = {}
        self._parameters: dict[Slot, int] = {}
        self.loads = 0
        for slot in slots[self._most :]:
            with at(slot.where(slot.names[0])):
                slot.look_at()
        for slot in slots[: self._most]:
            self._load(slot)
        self.first = next(iter(self._loaded.values()))

    @property
    def parameters(self) -> int:
        """Weights of all models that have been loaded, each counted once."""
        return sum(self._parameters.values())

    @property
    def merges(self) -> int:
        """How often a merge was written into a loaded model."""
        return sum(slot.merges for slot in self._slots)

    def __contains__(self, name: str) -> bool:
        """Whether the expert is one of these, loaded or not."""
        return name in self._of

    def at_once(self, names: Sequence[str]) -> list[str]:
        """The first of these that can be in memory together."""
        chosen: dict[Slot, str] = {}
        for name in names:
            if self._of[name] not in chosen and len(chosen) < self._most:
                chosen[self._of[name]] = name
        return list(chosen.values())

    def in_order(self) -> list[str]:
        """All names, those that are loaded first: what is asked in this order is loaded once."""
        slots = [*self._loaded, *(slot for slot in self._slots if slot not in self._loaded)]
        return [name for slot in slots for name in slot.in_order()]

    def get(self, name: str) -> Reward:
        """The model of this name, loaded; of no other name until it is asked for again."""
        slot = self._of[name]
        model = self._load(slot, name)
        if slot.now != name:
            if slot.now is not None:
                self._told[slot.now] = model.get_model_info()
            with at(slot.where(name)):
                slot.become(name, model)
        return model

    def identity(self, name: str) -> dict[str, str]:
        """What the expert's rewards depend on beside the conversation."""
        slot = self._of[name]
        recipe = slot.identity(name)
        if recipe is None:
            return self.get(name).identity()
        own = self._load(slot, name).identity()
        # What it is merged from tells its weights, which need not be made for that.
        return {part: text for part, text in own.items() if part != "weights"} | recipe

    def info(self) -> list[dict[str, Any]]:
        """What results.json says of each expert, in the user's order."""
        for slot, model in self._loaded.items():
            if slot.now is not None:
                self._told[slot.now] = model.get_model_info()
        return [
            {
                "name": name,
                "pretrained": slot.place(name),
                "device": str(self.first.device),
                **self._told.get(name, {}),
            }
            for name, slot in self._of.items()
        ]

    def _load(self, slot: Slot, name: str | None = None) -> Reward:
        if slot not in self._loaded:
            while len(self._loaded) >= self._most:
                self._release(next(iter(self._loaded)))
            name = name or slot.names[0]
            logger.info("loading the expert %s", name)
            with at(slot.where(name)):
                self._loaded[slot] = slot.load()
            self.loads += 1
            network = self._loaded[slot].model
            self._parameters[slot] = sum(one.numel() for one in network.parameters())
        self._loaded[slot] = self._loaded.pop(slot)
        return self._loaded[slot]

    def _release(self, slot: Slot) -> None:
        """Let go of a model's weights; the object stays, for who asks it of processes."""
        model = self._loaded.pop(slot)
        if slot.now is not None:
            self._told[slot.now] = model.get_model_info()
        slot.release()
        model.release()
        gc.collect()
