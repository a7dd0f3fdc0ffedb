# SPDX-License-Identifier: Apache-2.0
"""`reward_average`: weight-averaged reward models (WARM), body and head.

    merged = Σ w_i · model_i,  Σ w_i = 1                                  (arXiv 2401.12187)

for every tensor of the body, and for the head over the models that have one, their weights divided
by their sum.

`reward_average_linear` is the same with w_1 = 1 - sum of the others', so that there is a point at
which the merge is the first model, from which a search can start; and w_i may be below 0. It is for
heads of one trunk, a reward model's for each aspect of an answer: what is equal stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import AVERAGE, Method, Tensors, Values
from dogerm_plugin.methods.linear import (
    CHUNK,
    GPU_CHUNK,
    SUM_TOLERANCE,
    all_finite,
    check_finite,
)
from dogerm_plugin.methods.parameter import Parameter, Scope


def average(tensors: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    """Σ share_i · tensor_i, as the first tensor and the shares of the others' differences to it.

    So the average of equal tensors is that tensor to the bit, whatever the shares are.

    Args:
        tensors: of one shape, in any dtypes.
        shares: one for each; they sum to 1.

    Returns:
        float64.
    """
    first, *others = (one.double() for one in tensors)
    result = first.clone()
    for other, share in zip(others, shares[1:], strict=True):
        result += share * (other - first)
    return result


def _formula(tensors: Tensors, values: Values) -> torch.Tensor:
    return _summed(tensors, _shares([values["own_weight"], *values["weight"]], tensors))


def _summed(tensors: Tensors, shares: Sequence[float]) -> torch.Tensor:
    inputs = (tensors.reward, *tensors.domain)
    result = torch.empty(tensors.reward.shape, dtype=tensors.dtype, device=tensors.reward.device)
    step = CHUNK if result.device.type == "cpu" else GPU_CHUNK
    flat = [one.reshape(-1).split(step) for one in (result, *inputs)]
    for rounded, *parts in zip(*flat, strict=True):
        rounded.copy_(average(parts, shares))
    if not all_finite(result):
        for model, tensor in zip(tensors.models, inputs, strict=True):
            check_finite(tensor, tensors.name, model)
        raise MergeError(
            f"{tensors.name} does not fit {tensors.dtype}: set `out_dtype: bfloat16` or float32 in "
            "the recipe"
        )
    return result


def _shares(weights: Sequence[float | None], tensors: Tensors) -> list[float]:
    """Of the models that have a tensor: equal where no weight is written, and else in proportion.

    Raises:
        MergeError: these models' weights are all 0.
    """
    given = [1.0 if weight is None else weight for weight in weights]
    total = sum(given)
    if total == 0:
        raise MergeError(
            f"{tensors.name}: the weights of {' and '.join(map(str, tensors.models))}, which have "
            "it, are 0: its average is that of no model; give one of them a weight"
        )
    return [weight / total for weight in given]


def _constraint(values: Values, where: str) -> None:
    weights = [values["own_weight"], *values["weight"]]
    given = [weight for weight in weights if weight is not None]
    place = f" (at {where})" if where else ""
    if given and len(given) < len(weights):
        raise MergeError(
            f"{len(given)} of {len(weights)} models have a weight{place}: write one beside each, "
            "or none for equal ones"
        )
    if given and abs(sum(given) - 1) > SUM_TOLERANCE:
        raise MergeError(
            f"the weights of the models sum to {sum(given):.6g}, expected 1{place}: they are "
            "shares of an average; leave all out for equal ones"
        )


METHOD = Method(
    name=AVERAGE,
    title="Weight-averaged reward models (WARM)",
    reference="https://arxiv.org/abs/2401.12187",
    parameters=(
        Parameter(
            "weight",
            Scope.DOMAIN_MODEL,
            "share of the average",
            low=0,
            high=1,
            default=None,
            by_tensor=False,
            most_in_sum=1,
            example=0.5,
            on_reward_model="own_weight",
            of_any_model=True,
        ),
    ),
    formula=_formula,
    constraint=_constraint,
    base=None,
    base_required=False,
    heads=Heads.AVERAGED,
    by_row=True,
    as_stored=True,
)


def _affine(tensors: Tensors, values: Values) -> torch.Tensor:
    weights = values["weight"]
    return _summed(tensors, [1 - sum(weights), *weights])


def _follows(values: Values, where: str) -> None:
    own, total = values["own_weight"], sum(values["weight"])
    if own is not None and abs(own - (1 - total)) > SUM_TOLERANCE:
        raise MergeError(
            f"the first model's weight is {own:.6g}, expected {1 - total:.6g}"
            f"{f' (at {where})' if where else ''}: leave it out, it follows from the others"
        )


LINEAR = Method(
    name=f"{AVERAGE}_linear",
    title="Weighted sum of reward heads on one trunk",
    reference="https://arxiv.org/abs/2311.09528",
    parameters=(
        Parameter(
            "weight",
            Scope.DOMAIN_MODEL,
            "share of the sum, whose other shares are 1 less it",
            low=-1,
            high=1,
            by_tensor=False,
            at_rest=0,
            example=0.5,
            on_reward_model="own_weight",
        ),
    ),
    formula=_affine,
    constraint=_follows,
    heads=Heads.AVERAGED,
    by_row=True,
    as_stored=True,
)
