# SPDX-License-Identifier: Apache-2.0
"""How many parameters a sparse model has, how many work on a token, and how many k models have.

Routers and experts are found by what the class itself says: which module gives `router_logits`, and
which tensors beside it have one slice for each expert.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dogerm_plugin.errors import UserError


class NotSparseError(UserError):
    """A model without routers."""


@dataclass(frozen=True)
class ParameterCount:
    """A sparse model in numbers of parameters.

    Attributes:
        experts: how many each layer has.
        per_token: how many of them work on a token.
        total: of the whole model, as `sum(p.numel())`.
        in_experts: of all experts of all layers.
        in_gates: of all routers.
        beside: of experts that every token passes through, with their gates (Qwen2-MoE).
    """

    experts: int
    per_token: int
    total: int
    in_experts: int
    in_gates: int
    beside: int

    @property
    def one_expert(self) -> int:
        """Of one expert in all layers: the MLPs of a dense model."""
        return self.in_experts // self.experts

    @property
    def active(self) -> int:
        """What a token passes through."""
        return self.total - self.in_experts + self.per_token * self.one_expert

    @property
    def dense(self) -> int:
        """Of one model with one expert and no gates."""
        return self.total - self.in_experts - self.in_gates - self.beside + self.one_expert

    @property
    def apart(self) -> int:
        """Of as many dense models as there are experts."""
        return self.experts * self.dense

    def __str__(self) -> str:
        share = self.total / self.apart - 1
        return (
            f"{self.total:,} parameters, {self.active:,} active a token; "
            f"{self.experts} models have {self.apart:,} ({share:+.0%})"
        )


def count(network: Any) -> ParameterCount:
    """Count a model's parameters; the meta device will do.

    Raises:
        NotSparseError: it has no routers.
    """
    blocks = list(sparse_blocks(network))
    experts = {len(weight) for router, _ in blocks if (weight := weight_of(router)) is not None}
    if len(experts) != 1:
        found = f"layers with {sorted(experts)} experts" if experts else "no router"
        raise NotSparseError(
            f"{type(network).__name__} has {found}, expected as many experts in every layer: "
            "mergekit-moe makes such a model"
        )
    (number,) = experts
    in_experts = in_gates = beside = 0
    for router, block in blocks:
        of_router = {id(parameter) for parameter in router.parameters()}
        for parameter in block.parameters():
            if id(parameter) in of_router:
                in_gates += parameter.numel()
            elif parameter.ndim == 3 and len(parameter) == number:
                in_experts += parameter.numel()
            else:
                beside += parameter.numel()
    return ParameterCount(
        experts=number,
        per_token=network.config.get_text_config().num_experts_per_tok,
        total=sum(parameter.numel() for parameter in network.parameters()),
        in_experts=in_experts,
        in_gates=in_gates,
        beside=beside,
    )


def sparse_blocks(network: Any) -> Iterator[tuple[torch.nn.Module, torch.nn.Module]]:
    """Every layer's router, and the module that it is a part of, from the first layer on."""
    recorded = getattr(network, "_can_record_outputs", None) or {}
    recorder = recorded.get("router_logits")
    kind: Any = getattr(recorder, "target_class", recorder)
    if not isinstance(kind, type):
        return
    module: torch.nn.Module
    for name, module in network.named_modules():
        if isinstance(module, kind) and weight_of(module) is not None:
            block: torch.nn.Module = network.get_submodule(name.rpartition(".")[0])
            yield module, block


def weight_of(router: torch.nn.Module) -> torch.nn.Parameter | None:
    """A router's matrix (experts, hidden size)."""
    weight = getattr(router, "weight", None)
    return weight if isinstance(weight, torch.nn.Parameter) else None
