# SPDX-License-Identifier: Apache-2.0
"""How mergekit sees one of this project's methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    TensorEntry,
    TensorGroup,
)
from pydantic import Field

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import formula
from dogerm_plugin.methods.declaration import Method, Role, Tensors
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, REWARD, Parameter, Scope

# Set by `prepare`, not by users: the dtype to round to, perhaps by tensor, and the reward model.
RESULT_DTYPE = "result_dtype"
REWARD_MODEL = "reward_model"
INTERNAL = (
    ParameterSpec(RESULT_DTYPE, str | None, ParameterScope.SHARED, default=None),
    ParameterSpec(REWARD_MODEL, str | None, ParameterScope.SHARED, default=None),
)
_SCOPES = {Scope.DOMAIN_MODEL: ParameterScope.NON_BASE, Scope.MERGE: ParameterScope.SHARED}


class HostedMethod(GroupMergeMethod):
    """mergekit's view of a method.

    Args:
        method: what it declares.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.spec = self._spec()

    def _spec(self) -> MergeMethodSpec:
        method = self.method
        fewest, most = method.fewest_domain_models, method.most_domain_models
        if method.base is None:  # any of the models
            count = {"min_inputs": fewest + 1, "max_inputs": None if most is None else most + 1}
        else:
            # the reward model, beside the base
            beside = 0 if method.base is Role.REWARD_MODEL else 1
            count = {"min_non_base": fewest + beside}
            count |= {"max_non_base": None if most is None else most + beside}
        return MergeMethodSpec(
            name=method.name,
            pretty_name=method.title,
            reference_url=method.reference,
            contract=InputContract(
                base=BasePolicy.REQUIRED if method.base_required else BasePolicy.OPTIONAL, **count
            ),
            # What only the reward model has (its head, a vision tower) passes through.
            optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_SINGLETON,
            parameters=(
                *(spec for one in method.parameters for spec in specs(one)),
                *(spec for one in (ALLOW_UNRELATED, REWARD) for spec in specs(one)),
                *INTERNAL,
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
        tensors, values = self._told(group, parameters)
        is_vocabulary = group.metadata.vocabulary_axis == 0
        return formula.merged(self.method, tensors, values, is_vocabulary=is_vocabulary)

    def _told(
        self, group: TensorGroup, parameters: dict[str, Any]
    ) -> tuple[Tensors, dict[str, Any]]:
        """A group's tensors and the recipe's values, as a formula has them.

        Raises:
            MergeError: the reward model is not among them; a value that the filters leave out.
        """
        name = group.metadata.name or "a tensor"
        pretrained = group.base if self.method.base is Role.PRETRAINED else None
        reward = next((one for one in group.entries if self._is_reward(one, parameters)), None)
        domain = [one for one in group.entries if one not in (pretrained, reward)]
        shape_of = reward or (domain[0] if self.method.one_model_each else None)
        if shape_of is None:
            raise MergeError(f"{name}: not in the reward model")
        tensors = Tensors(
            name=name,
            reward=shape_of.tensor,
            domain=[entry.tensor for entry in domain],
            models=[one.id for one in (shape_of, *domain, pretrained) if one is not None],
            dtype=dtype_from_name(parameters.get(RESULT_DTYPE)) or shape_of.tensor.dtype,
            pretrained=None if pretrained is None else pretrained.tensor,
        )

        def bound(parameter: str, model: Any) -> Any:
            value = parameters[parameter]
            return value if model is None else value[model]

        of_domain = [entry.id for entry in domain]
        own = None if reward is None else reward.id
        return tensors, values_of(self.method, bound, own, of_domain, name)

    def _is_reward(self, entry: TensorEntry, parameters: dict[str, Any]) -> bool:
        if self.method.base is Role.REWARD_MODEL:
            return bool(entry.is_base)
        return str(entry.id) == parameters[REWARD_MODEL]


def specs(one: Parameter) -> Iterator[ParameterSpec]:
    """A parameter as mergekit takes it, and what the recipe writes beside the reward model."""
    kind = Annotated[float, Field(allow_inf_nan=False)] if one.kind is float else one.kind
    # None: a filter that leaves a tensor out. It matters for the body only, and is refused there by
    # `values_of`; mergekit itself would ask for a value at the head too.
    default = None if one.required else one.default
    scope = ParameterScope.INPUT if one.of_any_model else _SCOPES[one.scope]
    yield ParameterSpec(one.name, kind | None, scope, default=default, description=one.description)
    if one.on_reward_model:
        yield ParameterSpec(one.on_reward_model, kind | None, ParameterScope.INPUT, default=None)


def values_of(
    method: Method,
    bound: Callable[[str, Any], Any],
    reward: Any,
    domain: Sequence[Any],
    tensor: str,
) -> dict[str, Any]:
    """A method's values at one tensor, from what mergekit found in the recipe.

    Args:
        method: what it declares.
        bound: what mergekit found for a parameter and a model, None for one of the merge.
        reward: the reward model; None where the tensor is not made of it.
        domain: the domain models.
        tensor: of the body; for messages.

    Raises:
        MergeError: the recipe's filters leave the tensor without a value.
    """
    values: dict[str, Any] = {}
    for one in method.parameters:
        of_model = one.scope is Scope.DOMAIN_MODEL
        given = [bound(one.name, model) for model in (domain if of_model else [None])]
        if None in given and one.default is not None:
            owner = domain[given.index(None)] if of_model else "the recipe"
            raise MergeError(one.left_out(owner, tensor))
        values[one.name] = given if of_model else given[0]
        if one.on_reward_model and reward is not None:
            # What is written beside base_model has another name in mergekit (`configuration`).
            is_base = method.base is Role.REWARD_MODEL
            name = one.on_reward_model if is_base else one.name
            own = bound(name, reward)
            if own is None and not is_base and one.default is not None:
                raise MergeError(one.left_out(reward, tensor))
            values[one.on_reward_model] = own
    return values
