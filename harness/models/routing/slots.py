# SPDX-License-Identifier: Apache-2.0
"""What a pool loads: room for one model, which is one expert or becomes several in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers import AutoConfig

from harness.errors import HarnessError
from harness.models.load import published, remote_code
from harness.models.load.stored_tensors import beside, stored_shapes
from harness.models.reward import Reward


class Slot:
    """A checkpoint, loaded as it is.

    Args:
        name: the expert.
        place: folder or Hub id.
        load_from: makes a place a model.
        options: what that gives to ``from_pretrained``, for a look at what is not loaded yet.

    Attributes:
        names: the experts that the loaded model can be.
        now: which of them it is; None where it is not loaded, or none of them.
        merges: how often a merge was written into it.
    """

    def __init__(
        self,
        name: str,
        place: str,
        load_from: Callable[[str], Reward],
        options: Mapping[str, Any],
    ) -> None:
        self.names: tuple[str, ...] = (name,)
        self.now: str | None = None
        self.merges = 0
        self._place, self._load_from, self._options = place, load_from, options

    def look_at(self) -> None:
        """Refuse, by config and shapes, what has no reward head.

        Raises:
            HarnessError: it has none, or can't be read.
        """
        place, options = self._place, self._options
        where = {key: options[key] for key in ("revision", "trust_remote_code") if options.get(key)}
        try:
            config = AutoConfig.from_pretrained(place, **where)
        except (OSError, ValueError) as error:
            raise HarnessError(f"{place} holds no model: {error}") from error
        trusted = where.get("trust_remote_code") is True
        if remote_code.auto_class(place, config, trusted) is not None:
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
                f"{place} has no reward head of one number, so it is no reward model; merge it "
                "into one (mergekit-yaml), or name another"
            )

    def load(self) -> Reward:
        """The model, loaded.

        Raises:
            HarnessError: it is no reward model.
        """
        self.now = self.names[0]
        return self._load_from(self._place)

    def become(self, name: str, model: Reward) -> None:
        """Make the loaded model this expert.

        Raises:
            HarnessError: it can't be made.
        """
        self.now = name

    def release(self) -> None:
        """Forget the loaded model."""
        self.now = None

    def in_order(self) -> tuple[str, ...]:
        """The names, the one that the model is now first."""
        return tuple(sorted(self.names, key=lambda name: name != self.now))

    def where(self, name: str) -> str:
        """The expert, for messages."""
        return f"the expert {name}"

    def place(self, name: str) -> str:
        """Where the expert comes from, for results.json."""
        return self._place

    def identity(self, name: str) -> dict[str, str] | None:
        """What an expert is made of, where that tells its weights; None where they must be read."""
        return None
