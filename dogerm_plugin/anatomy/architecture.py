"""The layout in mergekit's terms: a `ModelArchitecture` made of the reward model's own tensors."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from mergekit.architecture.base import (
    ModelArchitecture,
    ModuleArchitecture,
    ModuleDefinition,
    WeightInfo,
)

from dogerm_plugin.anatomy.checkpoint import PLAIN, Tensor
from dogerm_plugin.anatomy.layout import Layout
from dogerm_plugin.anatomy.network import class_name
from dogerm_plugin.errors import MergeError

LAYER = re.compile(r"\.(\d+)\.")

# What a reward model's folder may hold besides weights, config and tokenizer that its class or
# its users need: remote code, and the processors of multimodal models.
TAGALONG = ("*.py", "preprocessor_config.json", "processor_config.json")


class RewardModelArchitecture(ModuleArchitecture):
    """The reward model's tensors, those in layers apart, so that per-layer λ and slices work.

    mergekit's own inference keeps one template for all layers and loses, without a word, what
    only some layers have (jamba, deepseek_v3, ...). Here every layer has its own list.
    """

    def __init__(
        self,
        before: list[WeightInfo],
        layers: list[list[WeightInfo]],
        after: list[WeightInfo],
        depth_key: str,
    ) -> None:
        self._before = before
        self._layers = layers
        self._after = after
        self._depth_key = depth_key

    def pre_weights(self, config: Any) -> list[WeightInfo]:
        return self._before

    def post_weights(self, config: Any) -> list[WeightInfo]:
        return self._after

    def layer_weights(self, index: int, config: Any) -> list[WeightInfo]:
        if index < len(self._layers):
            return self._layers[index]
        names = [[_numbered(w.name, 0) for w in layer] for layer in self._layers]
        if any(layer != names[0] for layer in names):
            raise MergeError(
                f"slices ask for layer {index} of {len(self._layers)}, and this model's layers "
                "are not all alike: they can't be stacked"
            )
        return [w.model_copy(update={"name": _numbered(w.name, index)}) for w in self._layers[0]]

    def num_layers(self, config: Any) -> int:
        return len(self._layers)

    def num_layers_config_key(self) -> str:
        return self._depth_key


def _numbered(name: str, index: int) -> str:
    return LAYER.sub(f".{index}.", name, count=1)


def unnumbered(name: str) -> str:
    """A tensor's name without its layer's number."""
    return LAYER.sub(".*.", name, count=1)


def architecture(
    layout: Layout, vocabulary: set[str], *, ends_apart: bool = False
) -> ModelArchitecture:
    """Describe the output to mergekit.

    Args:
        layout: the matched tensors.
        vocabulary: names whose rows mergekit is to align, or the method to compare.
        ends_apart: whether the head, too, goes with the last of `slices:`, as in mergekit all that
            follows the layers does. Else it goes with the first.
    """
    head = set(layout.head)
    joined = layout.joined.dtypes if layout.joined else {}
    # Not in every model: the head, a vision tower that the reward model or only some others have.
    partial = {
        name
        for name in [*layout.body, *layout.kept, *layout.head]
        if any(name not in layout.sources[other.model] for other in layout.others)
    }
    tensors = layout.reward.checkpoint.tensors
    weights = {
        name: WeightInfo(
            name=name,
            optional=name in partial,
            vocabulary_axis=0 if name in vocabulary else None,
            force_dtype=joined.get(name) or _forced_dtype(name, tensors.get(name), name in head),
        )
        for name in [*layout.body, *layout.kept, *layout.head]
    }
    depth = getattr(layout.reward.config.get_text_config(), "num_hidden_layers", 0)
    tower = _layer_prefix(layout.body, depth)
    layers: dict[int, list[WeightInfo]] = defaultdict(list)
    loose = []
    last = _after_layers(layout) | (head if ends_apart else set())
    for name, weight in sorted(weights.items()):
        match = LAYER.search(name)
        if match and name[: match.start()] == tower:
            layers[int(match[1])].append(weight)
        else:
            loose.append(weight)
    nested = "text_config." if hasattr(layout.reward.config, "text_config") else ""
    module = RewardModelArchitecture(
        [weight for weight in loose if weight.name not in last],
        [layers[i] for i in range(max(layers, default=-1) + 1)],
        [weight for weight in loose if weight.name in last],
        f"{nested}num_hidden_layers",
    )
    folder = layout.reward.checkpoint.folder
    return ModelArchitecture(
        modules={"default": ModuleDefinition(architecture=module)},
        architectures=[str(class_name(layout.reward.config))],
        model_type=layout.reward.config.model_type,
        tagalong_files=sorted(f.name for pattern in TAGALONG for f in folder.glob(pattern)),
        vocab_size_config_key=f"{nested}vocab_size",
    )


def _after_layers(layout: Layout) -> set[str]:
    """What the class lists behind its last layer: the final norm."""
    reward = layout.reward
    order = {name: number for number, name in enumerate(reward.trunk.state_dict())}
    end = max((number for name, number in order.items() if LAYER.search(f".{name}")), default=0)
    return {stored for name, stored in reward.body.items() if order.get(name, 0) > end}


def _layer_prefix(names: list[str], depth: int) -> str:
    """The prefix of the text decoder's layers, not of a vision tower's, which may be deeper.

    The stack that is as deep as the config says; of several, or where none is, the largest.
    """
    counts: dict[str, int] = defaultdict(int)
    layers: dict[str, set[str]] = defaultdict(set)
    for name in names:
        match = LAYER.search(name)
        if match:
            counts[name[: match.start()]] += 1
            layers[name[: match.start()]].add(match[1])
    return max(sorted(counts), key=lambda p: (len(layers[p]) == depth, counts[p]), default="")


def _forced_dtype(name: str, tensor: Tensor | None, head: bool) -> str | None:
    """Keeps a head, and counters such as position ids, as stored, whatever out_dtype says."""
    if tensor is None or not (head or tensor.dtype == "int64"):
        return None
    return tensor.dtype if tensor.dtype in (*PLAIN, "int64") else None
