# SPDX-License-Identifier: Apache-2.0
"""`reward_preserving_linear`: DogeRM's merge, a weighted mean of the models' bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dogerm_plugin.methods.declaration import PREFIX, Method, Tensors, Values
from dogerm_plugin.methods.linear import check_weights, linear
from dogerm_plugin.methods.parameter import Parameter, Scope

if TYPE_CHECKING:
    import torch


def _formula(tensors: Tensors, values: Values) -> torch.Tensor:
    return linear(
        tensors.reward,
        tensors.domain,
        values["weight"],
        dtype=tensors.dtype,
        name=tensors.name,
        models=tensors.models,
    )


def _constraint(values: Values, where: str) -> None:
    check_weights(values["weight"], values["own_weight"], where)


METHOD = Method(
    name=f"{PREFIX}linear",
    title="Reward-preserving linear (DogeRM)",
    reference="https://arxiv.org/abs/2407.01470",
    parameters=(
        Parameter(
            "weight",
            Scope.DOMAIN_MODEL,
            "share of the merged body",
            low=0,
            high=1,
            at_rest=0,
            symbol="λ",
            example=0.3,
            # The reward model's share follows from the others; one that is written must agree.
            on_reward_model="own_weight",
        ),
    ),
    formula=_formula,
    constraint=_constraint,
    by_row=True,
    as_stored=True,
)
