# SPDX-License-Identifier: Apache-2.0
"""The linear layers of a reward head, found by their shapes.

A published reward model calls its head ``v_head.summary``, ``regression_head``, ``score_head``,
``value_head``, ``score.0`` and ``score.2``, and so on. Whatever its name, it lies outside the body
and leads from the hidden size to one number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from harness.errors import HarnessError
from harness.models.stored import Shape

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
class Layer:
    """One linear layer: its name on disk, and its sizes."""

    name: str
    inputs: int
    outputs: int
    bias: bool


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
        """The modules of `harness.models.body_and_head`'s class that hold the layers."""
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
        """Names on disk (patterns) to those of `harness.models.body_and_head`'s class."""
        mapping = {
            f"^{re.escape(layer.name)}\\.": f"{place}."
            for layer, place in zip(self.layers, self.places(), strict=True)
        }
        if self.wrapper:
            mapping[f"^{re.escape(self.wrapper)}"] = ""
        return mapping


def reward_layers(outside: Mapping[str, Shape], width: int, source: str) -> list[Layer]:
    """The layers of the one reward head among the tensors outside a body, in their order.

    Args:
        outside: tensor names on disk to shapes, without the LM head.
        width: the size of a hidden state.
        source: the checkpoint, for messages.

    Raises:
        HarnessError: no chain of layers from `width` to 1, two of them, or tensors beside it.
    """
    modules: dict[str, dict[str, Shape]] = defaultdict(dict)
    for name, shape in outside.items():
        modules[name.split(".")[0]][name] = shape
    chains = {name: chain for name, held in modules.items() if (chain := _chain(held, width))}
    if len(chains) > 1:
        raise HarnessError(
            f"{source} holds {len(chains)} reward heads ({_list(outside)}), and nothing says "
            "which one gives the reward: keep one, or publish the class that uses them with the "
            "checkpoint (auto_map) and give trust_remote_code=True"
        )
    if not chains:
        raise HarnessError(
            f"{source}: the tensors outside its body ({_list(outside)}) are no reward head, which "
            f"is one or more linear layers from the hidden size {width} to 1 number; if the "
            "checkpoint comes with its own code, give --model_args trust_remote_code=True"
        )
    (found,) = chains
    beside = {name: shape for name, shape in outside.items() if name.split(".")[0] != found}
    if beside:
        raise HarnessError(
            f"{source}: beside its reward head {found} it holds {_list(beside)}, which may change "
            "the reward in a way that a checkpoint does not say; a class of its own (auto_map, "
            "with trust_remote_code=True) would"
        )
    return chains[found]


def _chain(held: Mapping[str, Shape], width: int) -> list[Layer] | None:
    """The layers of one module; None unless all its tensors are a chain from `width` to 1."""
    layers = []
    for name, shape in held.items():
        path, _, kind = name.rpartition(".")
        if kind == "bias" and f"{path}.weight" in held:
            continue
        if kind != "weight" or len(shape) != 2:
            return None
        bias = held.get(f"{path}.bias")
        if bias not in (None, (shape[0],)):
            return None
        layers.append(Layer(path, shape[1], shape[0], bias is not None))
    layers.sort(key=lambda layer: (layer.outputs == 1, _natural(layer.name)))
    # Of three layers or more only numbers tell the order; of two, the shapes do.
    if len(layers) > 2 and not all(re.search(r"\d", layer.name) for layer in layers[:-1]):
        return None
    sizes = [width, *(layer.outputs for layer in layers)]
    fits = sizes[-1] == 1 and [layer.inputs for layer in layers] == sizes[:-1]
    return layers if fits else None


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _list(tensors: Mapping[str, Shape]) -> str:
    texts = [f"{name} {list(shape)}" for name, shape in sorted(tensors.items())]
    return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if len(texts) > 4 else "")
