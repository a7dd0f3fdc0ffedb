"""Where in the model a body tensor stands: in which layer, and what it is for.

Told by the modules of the model's class, never by a list of architectures:

- `norms`: the module that holds the tensor is a normalisation, those inside attention too.
- `attention`: whatever mixes tokens. Of the modules around the tensor, inside its layer, the
  outermost that says what it is says attention, or a state-space model's mixer.
- `embeddings`: rows of the vocabulary, and other embeddings beside the layers (positions).
- `mlp`: the rest of a layer. Experts and their router are one part: a router is trained to its
  experts, and with a λ of its own it would choose among others.
- `other`: what stands beside the layers and is none of these, what a layer itself holds (scales of
  the residual stream), and all that lies outside the text decoder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from dogerm_plugin.anatomy.architecture import LAYER
from dogerm_plugin.anatomy.layout import Layout

PARTS = ("embeddings", "attention", "mlp", "norms", "other")

# The words by which modules say what they are.
_WORDS = re.compile(
    r"(?P<attention>(?i:att(?:entio)?n|mixer|mamba)|SSM|ssm)"
    r"|(?P<mlp>(?i:mlp|moe|ffn|feed_?forward))|(?P<norms>(?i:norm))"
)
# A whole layer inside a layer, as hybrid models have it: ZambaMambaDecoderLayer.
_NESTED = "DecoderLayer"


@dataclass(frozen=True)
class Place:
    """Where a body tensor stands: in which layer, and what it is for.

    Attributes:
        part: one of `PARTS`.
        layer: its layer, from 0; of a tensor beside the layers, the nearest one.
        beside: whether it is in no layer.
        outside: whether it lies outside the text decoder, as a vision tower does.
    """

    part: str
    layer: int
    beside: bool = False
    outside: bool = False


def places(layout: Layout) -> dict[str, Place]:
    """The place of every body tensor, by its name in the output."""
    reward = layout.reward
    trunk = reward.trunk
    of_class = {stored: reward.fused[relative] for relative, stored in reward.body.items()}
    names = {name: of_class[layout.sources[reward.model][name][0]] for name in layout.body}
    decoder = _decoder(reward.network, trunk)
    inside = [own for own in names.values() if own.startswith(decoder)]
    stack = _stack(inside)
    last = max((_layer(own, stack) for own in inside), default=-1)
    place_of = {}
    for name, own in names.items():
        modules = list(_around(trunk, own))
        layer = _layer(own, stack)
        if not own.startswith(decoder):
            place_of[name] = Place("other", 0, beside=True, outside=True)
        elif name in layout.vocabulary:
            place_of[name] = Place("embeddings", max(layer, 0), beside=layer < 0)
        elif layer >= 0:
            place_of[name] = Place(_part(modules[stack.count(".") + 1 :]), layer)
        else:
            part = _part_beside(modules[-1][1] if modules else trunk)
            final = part == "norms" and "emb" not in own  # not bloom's, which follows the embedding
            place_of[name] = Place(part, last if final else 0, beside=True)
    return place_of


def _decoder(network: PreTrainedModel, trunk: nn.Module) -> str:
    """What the text decoder's tensor names begin with, relative to the trunk."""
    decoder = network.get_decoder()
    path = next((path for path, module in trunk.named_modules() if module is decoder), "")
    return f"{path}." if path else ""


def _stack(names: Collection[str]) -> str:
    """What the names of layers begin with, such as `layers.`: where most numbered tensors are."""
    counts = Counter(name[: m.start()] for name in names if (m := LAYER.search(f".{name}")))
    return max(sorted(counts), key=lambda prefix: counts[prefix], default="")


def _layer(name: str, stack: str) -> int:
    """A tensor's layer, -1 beside the layers."""
    match = LAYER.search(f".{name}")
    return int(match[1]) if match and name[: match.start()] == stack else -1


def _around(trunk: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules that hold a tensor, outermost first, each with the name that its parent has."""
    module = trunk
    for attribute in name.split(".")[:-1]:
        module = module.get_submodule(attribute)
        yield attribute, module


def _part(modules: list[tuple[str, nn.Module]]) -> str:
    """What a tensor inside a layer is for; `modules` are those between layer and tensor."""
    if not modules:
        return "other"
    if _is_norm(modules[-1][1]):
        return "norms"
    for attribute, module in modules:
        class_name = type(module).__name__
        if class_name.endswith(_NESTED):
            continue
        if said := _said(class_name) or _said(attribute):
            return said
    return "mlp"


def _said(name: str) -> str | None:
    """What the name of a class or module says that it is.

    The last word counts, for a class's name begins with its model's (Qwen2MoeAttention), and
    `norms` only where no other is said: a norm may be named by its place (post_attention_norm).
    """
    said = [str(word.lastgroup) for word in _WORDS.finditer(name)]
    return next((part for part in reversed(said) if part != "norms"), said[-1] if said else None)


def _part_beside(module: nn.Module) -> str:
    if isinstance(module, nn.Embedding):
        return "embeddings"
    return "norms" if _is_norm(module) else "other"


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()
