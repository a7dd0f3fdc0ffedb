# SPDX-License-Identifier: Apache-2.0
"""A head beside a body as a checkpoint stores it, and where a loaded model has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from dogerm_plugin.anatomy.head_layers import Layer

# What may stand between two layers; it holds no numbers, so no checkpoint stores it. "linear" is
# nothing at all (--model_args would read the word none as no value).
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}

# No checkpoint has a tensor of that name: from_pretrained applies the renamings of a key mapping in
# turn, and one that gives score.1 another place must not find what the one before it put there.
HEAD = "dogerm_head"


@dataclass(frozen=True)
class PublishedHead:
    """A head beside a body, as a checkpoint stores them.

    Attributes:
        layers: the head's linear layers, in their order.
        activation: what stands between two of them, one of `ACTIVATIONS`.
        wrapper: what stands before the names that the body's class reads (``pretrained_model.``).
        skips_padding: pool at the right-most token other than ``pad_token_id``, as
            ``...ForSequenceClassification`` does; else at the last token of the conversation, as
            TRL's value heads and the other published classes do.
    """

    layers: tuple[Layer, ...]
    activation: str
    wrapper: str
    skips_padding: bool

    def places(self) -> list[str]:
        """The modules of `harness.models.load.body_and_head`'s class that hold the layers."""
        several = len(self.layers) > 1  # an nn.Sequential, with activations between
        return [f"{HEAD}.{2 * n}" if several else HEAD for n in range(len(self.layers))]

    def on_disk(self) -> dict[str, str]:
        """The head's parameter names in that class to those in the checkpoint."""
        return {
            f"{place}.{kind}": f"{layer.name}.{kind}"
            for layer, place in zip(self.layers, self.places(), strict=True)
            for kind in ("weight", "bias")
        }

    def key_mapping(self) -> dict[str, str]:
        """Names on disk (patterns) to those of `harness.models.load.body_and_head`'s class."""
        mapping = {
            f"^{re.escape(layer.name)}\\.": f"{place}."
            for layer, place in zip(self.layers, self.places(), strict=True)
        }
        if self.wrapper:
            mapping[f"^{re.escape(self.wrapper)}"] = ""
        return mapping
