# SPDX-License-Identifier: Apache-2.0
"""`reward_preserving_<name>`: any merge method that mergekit has, for the body of a reward model.

Nothing of a method is written here: its parameters, its base and the number of its models are what
mergekit declares (`declared`), and its own code does the arithmetic, in float32, with random
numbers of the recipe's `seed` and the tensor's name. Task arithmetic and TIES alone have a faster
way to the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from mergekit.merge_methods.base import (
    BatchOptions,
    MergeMethod,
    MergeMethodSpec,
    OptionalTensorPolicy,
    ParameterScope,
    ParameterSpec,
    TensorGroup,
)
from mergekit.merge_methods.generalized_task_arithmetic import GeneralizedTaskArithmeticMerge
from mergekit.sparsify import SparsificationMethod

from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.methods import task_arithmetic
from dogerm_plugin.methods.declared import declared
from dogerm_plugin.methods.formula import checked, exact_dtype, numbers_of
from dogerm_plugin.methods.hosted import INTERNAL, HostedMethod, specs
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, REWARD, SEED, UNMERGED

# Set by `prepare`, not by users: the names of tensors that are not of the body, a line each.
KEPT = "kept"


class WrappedMethod(HostedMethod):
    """One of mergekit's methods as a method of this project.

    Args:
        host: mergekit's.
        heads: the reward model's, or those of all.
    """

    def __init__(self, host: MergeMethod, heads: Heads = Heads.KEPT) -> None:
        self.host = host
        self._fast = has_one_pass(host)
        method = declared(host, draws=not self._fast, by_row=is_elementwise(host))
        super().__init__(method.with_all_heads() if heads is Heads.STACKED else method)

    def _spec(self) -> MergeMethodSpec:
        host = self.host.spec
        names = {one.name for one in host.parameters}
        added = (one for one in self.method.parameters if one.name not in names)
        return MergeMethodSpec(
            name=self.method.name,
            pretty_name=self.method.title,
            reference_url=host.reference_url,
            contract=host.contract,
            optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_SINGLETON,
            parameters=(
                *map(_or_none, host.parameters),
                *(spec for one in (*added, ALLOW_UNRELATED, REWARD) for spec in specs(one)),
                *INTERNAL,
                ParameterSpec(KEPT, str | None, ParameterScope.SHARED, default=None),
            ),
            uses_accelerator=host.uses_accelerator,
        )

    def merge_group(self, group: TensorGroup, /, **parameters: Any) -> torch.Tensor:
        if group.metadata.name in (parameters[KEPT] or "").split("\n"):
            own = [one for one in group.entries if self._is_reward(one, parameters)]
            return (own or group.entries)[0].tensor  # lent to another model that is alone
        tensors, values = self._told(group, parameters)
        if parameters[UNMERGED.name]:
            return checked(self.method, tensors, tensors.reward)
        self.method.check(values, tensors.name)
        settings = self._one_pass(group, parameters) if self._fast else None
        if settings is not None:
            models = [one.tensor for one in group.non_base]
            base = group.base.tensor
            exact = task_arithmetic.merged(base, models, settings, tensors.dtype)
        else:
            exact = self._by_mergekit(group, parameters, values.get(SEED, 0))
        return checked(self.method, tensors, exact)

    def _one_pass(
        self, group: TensorGroup, parameters: dict[str, Any]
    ) -> task_arithmetic.Settings | None:
        """What the fast way needs to know; None where it has none for these parameters."""
        densities = parameters["density"].values_for(group.non_base)
        if parameters["rescale"] and min(densities) < 1:
            return None  # by a sum over all of a tensor
        sparse = self.host.sparsification_method is not None
        return task_arithmetic.Settings(
            weights=parameters["weight"].values_for(group.non_base),
            densities=densities if sparse else [1.0] * len(densities),
            factor=parameters["lambda"],
            normalize=parameters["normalize"],
            consensus=self.host.consensus_method is not None,
        )

    def _by_mergekit(
        self, group: TensorGroup, parameters: dict[str, Any], seed: int
    ) -> torch.Tensor:
        dtype = exact_dtype(group.tensors)
        exact = [replace(one, tensor=one.tensor.to(dtype)) for one in group.entries]
        with numbers_of(seed, str(group.metadata.name), exact[0].tensor.device):
            (result,) = self.host._execute(
                (replace(group, entries=tuple(exact)),),
                [{one.name: parameters[one.name] for one in self.host.spec.parameters}],
                BatchOptions(),
                input_dtypes=[dtype],
            )
        return result


def _or_none(one: ParameterSpec) -> ParameterSpec:
    """mergekit's parameter, which a filter may leave out for the head.

    That the body has a value everywhere is asked of it by `hosted.values_of`.
    """
    default = None if one.required else one.default
    kind = one.value_type | None
    return ParameterSpec(one.name, kind, one.scope, default=default, description=one.description)


def has_one_pass(host: MergeMethod) -> bool:
    """Whether `task_arithmetic` makes the same tensors as mergekit's method."""
    return isinstance(host, GeneralizedTaskArithmeticMerge) and (
        host.sparsification_method in (None, SparsificationMethod.magnitude)
        and (host.consensus_method is None or host.consensus_method.value == "sum")
    )


def is_elementwise(host: MergeMethod) -> bool:
    """Whether some rows of a tensor may be merged without the others."""
    return has_one_pass(host) and host.sparsification_method is None
