# SPDX-License-Identifier: Apache-2.0
"""The output's reward head: the base's to the bit, the experts' mean, or all of them, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dogerm_plugin.anatomy import joined_heads
from dogerm_plugin.anatomy.body_and_head import Anatomy
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.linear import check_finite


@dataclass(frozen=True)
class Head:
    """What gives the rewards.

    Attributes:
        weight: (labels, hidden size), in the dtype that holds the numbers of all its parts.
        labels: a name for each; None for those of the base.
    """

    weight: torch.Tensor
    labels: tuple[str, ...] | None = None


def of_base(base: Anatomy) -> Head:
    """The base model's head, to the bit.

    Raises:
        MergeError: it is not one linear layer without a bias, so no sparse class has it.
    """
    return Head(_weight(base))


def of_experts(base: Anatomy, experts: Sequence[Anatomy], form: str, names: Sequence[str]) -> Head:
    """The experts' heads made one.

    Args:
        base: that the heads are held against.
        experts: with their heads.
        form: `average`, one head; or `apart`, one label each, named after the model.
        names: of the experts, as the recipe has them.

    Raises:
        MergeError: an expert has no head, or one of another shape; or its rewards are others: a
            cost model's, of another centre or scale, or of another label where they are averaged.
    """
    own = _weight(base)
    weights, dtype = [], own.dtype
    for expert in experts:
        if not expert.reward_head:
            raise MergeError(
                f"head: {form}: the expert {expert.model} has no reward head (it is a "
                f"{type(expert.network).__name__}); say head: base"
            )
        weight = _weight(expert)
        if weight.shape != own.shape or (form == "apart" and len(weight) != 1):
            raise MergeError(
                f"head: {form}: that of {expert.model} has shape {list(weight.shape)}, and that "
                f"of {base.model} {list(own.shape)}: expected [1, {own.shape[1]}] of all"
            )
        joined_heads.check_alike(base, expert)
        if form == "average":
            joined_heads.check_centre(base, expert)
            if expert is not experts[0]:
                joined_heads.warn_of_unlike_starts(experts[0], expert)
        weights.append(weight.double())
        dtype = torch.promote_types(dtype, weight.dtype)
    if form == "average":
        return Head((sum(weights[1:], weights[0]) / len(weights)).to(dtype))
    return Head(torch.cat(weights).to(dtype), tuple(_labels(names)))


def _weight(model: Anatomy) -> torch.Tensor:
    shapes = {name: list(model.stored[name].shape) for name in model.reward_head}
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 2 or model.beside.files:
        shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise MergeError(
            f"{model.model}: its reward head ({shown}) is not one linear layer without a bias, and "
            "transformers' sparse classes have no other"
        )
    (name,) = shapes
    tensor: Any = model.checkpoint.loader.get_tensor(name)
    check_finite(tensor, name, model.model)
    return tensor.detach().clone()


def _labels(names: Sequence[str]) -> list[str]:
    """As short as tells models apart; numbered where one model stands twice."""
    models = list(dict.fromkeys(names))
    short = dict(zip(models, joined_heads.short_names(models), strict=True))
    return [
        short[name] if names.count(name) == 1 else f"{short[name]}-{names[: i + 1].count(name)}"
        for i, name in enumerate(names)
    ]
