# SPDX-License-Identifier: Apache-2.0
"""The experts' models: loaded when they are needed, at most so many at a time."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping
from typing import Any

from transformers import AutoConfig

from harness.errors import HarnessError, at
from harness.models.load import published, remote_code
from harness.models.load.stored_tensors import beside, stored_shapes
from harness.models.reward import Reward

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


class Pool:
    """Reward models by name, of which the least recently used goes when another is needed.

    As many as fit are loaded at once, so that a mistake in one is found before the first has
    scored; of the others config and head are looked at.

    Args:
        places: folder or Hub id by name.
        load: makes a place a model.
        most: that are loaded at a time; None for all.
        options: what `load` gives to ``from_pretrained``, for looking at the others.

    Attributes:
        most: as given, or all.
        first: the model that was loaded first; it goes on telling of processes and templates when
            its weights are gone.
        loads: how often a model was loaded.
        parameters: numbers of weights by name, of the experts that have been loaded.

    Raises:
        HarnessError: an expert is no reward model.
    """

    def __init__(
        self,
        places: Mapping[str, str],
        load: Callable[[str], Reward],
        most: int | None,
        options: Mapping[str, Any],
    ) -> None:
        self._places, self._load = dict(places), load
        self.most = len(self._places) if most is None else most
        self._loaded: dict[str, Reward] = {}  # the least recently used first
        self._told: dict[str, dict[str, Any]] = {}
        self.loads = 0
        self.parameters: dict[str, int] = {}
        names = list(self._places)
        for name in names[self.most :]:
            look_at(name, self._places[name], options)
        for name in names[: self.most]:
            self.get(name)
        self.first = next(iter(self._loaded.values()))

    def __contains__(self, name: str) -> bool:
        """Whether the expert is one of these, loaded or not."""
        return name in self._places

    def in_order(self) -> list[str]:
        """All names, those that are loaded first: what is asked in this order is loaded once."""
        return [*self._loaded, *(name for name in self._places if name not in self._loaded)]

    def get(self, name: str) -> Reward:
        """The model of this name, loaded."""
        if name not in self._loaded:
            while len(self._loaded) >= self.most:
                self._release(next(iter(self._loaded)))
            logger.info("loading the expert %s", name)
            with at(f"the expert {name}"):
                self._loaded[name] = self._load(self._places[name])
            self.loads += 1
            network = self._loaded[name].model
            self.parameters[name] = sum(one.numel() for one in network.parameters())
        self._loaded[name] = self._loaded.pop(name)
        return self._loaded[name]

    def info(self) -> list[dict[str, Any]]:
        """What results.json says of each expert, in the user's order."""
        for name, model in self._loaded.items():
            self._told[name] = model.get_model_info()
        return [
            {
                "name": name,
                "pretrained": place,
                "device": str(self.first.device),
                **self._told.get(name, {}),
            }
            for name, place in self._places.items()
        ]

    def _release(self, name: str) -> None:
        """Let go of a model's weights; the object stays, for who asks it of processes."""
        model = self._loaded.pop(name)
        self._told[name] = model.get_model_info()
        model.release()
        gc.collect()


def look_at(name: str, place: str, options: Mapping[str, Any]) -> None:
    """Refuse a checkpoint without a reward head, by its config and the shapes of its tensors.

    Raises:
        HarnessError: it has none, or can't be read.
    """
    where = {key: options[key] for key in ("revision", "trust_remote_code") if options.get(key)}
    try:
        config = AutoConfig.from_pretrained(place, **where)
    except (OSError, ValueError) as error:
        raise HarnessError(f"the expert {name}: {place} holds no model: {error}") from error
    if remote_code.auto_class(place, config, where.get("trust_remote_code") is True) is not None:
        return
    stored = stored_shapes(place, **where)
    if not stored:
        return
    extra = beside(place, stored, **where).tensors
    stored = stored | {key: tuple(tensor.shape) for key, tensor in extra.items()}
    activation = options.get("head_activation")
    head = published.find_head(place, config, stored, activation)
    if head is None and not published.own_head(config, stored)[1]:
        raise HarnessError(
            f"the expert {name}: {place} has no reward head of one number, so it is no reward "
            "model; merge it into one (mergekit-yaml), or name another"
        )
