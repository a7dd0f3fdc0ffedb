# SPDX-License-Identifier: Apache-2.0
"""The linear layers of a reward head, found by their shapes.

A published reward model calls its head ``v_head.summary``, ``regression_head``, ``score_head``,
``value_head``, ``score.0`` and ``score.2``, and so on. Whatever its name, it lies outside the body
and leads from the hidden size to one number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from dogerm_plugin.errors import UserError

Shape = tuple[int, ...]


class NoSingleHeadError(UserError):
    """The tensors outside a body are no reward head, or more than one."""


@dataclass(frozen=True)
class Layer:
    """One linear layer: its name on disk, and its sizes."""

    name: str
    inputs: int
    outputs: int
    bias: bool


def reward_layers(outside: Mapping[str, Shape], width: int, source: str) -> list[Layer]:
    """The layers of the one reward head among the tensors outside a body, in their order.

    Args:
        outside: tensor names on disk to shapes, without the LM head.
        width: the size of a hidden state.
        source: the checkpoint, for messages.

    Raises:
        NoSingleHeadError: no chain of layers from `width` to 1, two of them, or tensors beside it.
    """
    modules: dict[str, dict[str, Shape]] = defaultdict(dict)
    for name, shape in outside.items():
        modules[name.split(".")[0]][name] = shape
    chains = {name: chain for name, held in modules.items() if (chain := _chain(held, width))}
    if len(chains) > 1:
        raise NoSingleHeadError(
            f"{source} holds {len(chains)} reward heads ({_list(outside)}), and nothing says "
            "which one gives the reward: keep one, or publish the class that uses them with the "
            "checkpoint (auto_map) and give trust_remote_code=True"
        )
    if not chains:
        raise NoSingleHeadError(
            f"{source}: the tensors outside its body ({_list(outside)}) are no reward head, which "
            f"is one or more linear layers from the hidden size {width} to 1 number; if the "
            "checkpoint comes with its own code, give --model_args trust_remote_code=True"
        )
    (module,) = chains
    beside = {name: shape for name, shape in outside.items() if name.split(".")[0] != module}
    if beside:
        raise NoSingleHeadError(
            f"{source}: beside its reward head {module} it holds {_list(beside)}, which may change "
            "the reward in a way that a checkpoint does not say; a class of its own (auto_map, "
            "with trust_remote_code=True) would"
        )
    return chains[module]


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
