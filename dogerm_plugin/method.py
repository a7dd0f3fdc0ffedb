"""The merge method `reward_preserving_linear` as mergekit sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from mergekit.common import dtype_from_name
from mergekit.merge_methods.base import (
    BasePolicy,
    GroupMergeMethod,
    InputContract,
    MergeMethodSpec,
    OptionalTensorPolicy,
    ParameterScope,
    ParameterSpec,
    TensorGroup,
)
from pydantic import Field

from dogerm_plugin.errors import MergeError
from dogerm_plugin.linear import keep_common_rows, linear

# A domain model's parameter: it may be no relative of the reward model (`kinship`).
ALLOW_UNRELATED = "allow_unrelated"


class RewardPreservingLinear(GroupMergeMethod):
    """mergekit's view of `linear`."""

    spec = MergeMethodSpec(
        name="reward_preserving_linear",
        pretty_name="Reward-preserving linear (DogeRM)",
        reference_url="https://arxiv.org/abs/2407.01470",
        contract=InputContract(base=BasePolicy.REQUIRED, min_non_base=1),
        # What only the reward model has (its head, a vision tower) passes through.
        optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_BASE_SINGLETON,
        parameters=(
            # None: a filter that leaves a tensor out. It matters for the body only, and is refused
            # there by `merge`; mergekit itself would ask for a weight on the head too.
            ParameterSpec(
                "weight",
                Annotated[float, Field(allow_inf_nan=False)] | None,
                ParameterScope.NON_BASE,
                default=None,
                description="λ: the domain model's share of the merged body, 0..1",
            ),
            ParameterSpec(
                ALLOW_UNRELATED,
                bool,
                ParameterScope.NON_BASE,
                default=False,
                description="merge a model although its weights are no relatives (see `kinship`)",
            ),
            # The next two are set by `recipe` and `merge`, not by users: the weight that a recipe
            # writes on the reward model, to be checked, and the dtype to round to.
            ParameterSpec("own_weight", float | None, ParameterScope.INPUT, default=None),
            ParameterSpec("result_dtype", str | None, ParameterScope.SHARED, default=None),
        ),
    )

    def _execute(
        self,
        groups: Sequence[TensorGroup],
        parameters: list[dict[str, Any]],
        options: Any,
        *,
        input_dtypes: Sequence[torch.dtype | None] = (),
        out_dtype: torch.dtype | None = None,
    ) -> tuple[torch.Tensor, ...]:
        # Not GroupMergeMethod's: it converts whole tensors to a common dtype first, which
        # costs a copy and loses the reward model's dtype.
        results = (
            self.merge_group(group, **bound)
            for group, bound in zip(groups, parameters, strict=True)
        )
        return tuple(result.to(out_dtype or result.dtype) for result in results)

    def merge_group(self, group: TensorGroup, /, **parameters: Any) -> torch.Tensor:
        name = group.metadata.name or "a tensor"
        if group.base is None:
            raise MergeError(f"{name}: not in the reward model")
        weights = parameters["weight"].values_for(group.non_base)
        for entry, weight in zip(group.non_base, weights, strict=True):
            if weight is None:
                raise MergeError(no_weight(entry.id, name))
        reward = group.base.tensor
        others = [entry.tensor for entry in group.non_base]
        merged = linear(
            reward,
            others,
            weights,
            dtype=dtype_from_name(parameters.get("result_dtype")),
            name=name,
            models=[group.base.id, *(entry.id for entry in group.non_base)],
        )
        if group.metadata.vocabulary_axis == 0:
            keep_common_rows(merged, reward, others)
        return merged


def no_weight(model: object, name: str) -> str:
    """What to say of a body tensor for which a recipe's filters give no λ."""
    return (
        f"{model} has no weight for {name}: the filters leave it out; end the list with "
        "`- value: 0` (or another λ) for the rest"
    )


METHOD = RewardPreservingLinear()


def _register() -> None:
    # Here, not in the hook: when this module is what imports mergekit, the hook runs while METHOD
    # is not defined yet.
    from mergekit.merge_methods import registry

    if METHOD.spec.name not in {method.spec.name for method in registry.registered_methods()}:
        registry.register(METHOD)


_register()
