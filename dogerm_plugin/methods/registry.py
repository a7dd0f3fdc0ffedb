# SPDX-License-Identifier: Apache-2.0
"""This project's methods that mergekit knows, and how it sees one.

registry.register(METHOD)  # a `declaration.Method`: from now on a recipe may name it
registry.of("reward_preserving_linear").parameters
"""

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
    TensorGroup,
)
from pydantic import Field

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import formula, reward_preserving_linear
from dogerm_plugin.methods.declaration import Method, Role, Tensors
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, Parameter, Scope

# Set by `prepare`, not by users: the dtype to round to, perhaps by tensor.
RESULT_DTYPE = "result_dtype"
_SCOPES = {Scope.DOMAIN_MODEL: ParameterScope.NON_BASE, Scope.MERGE: ParameterScope.SHARED}


class HostedMethod(GroupMergeMethod):
    """mergekit's view of a method. Its `base_model` is the reward model.

    Args:
        method: what it declares.

    Raises:
        ValueError: it needs a model that recipes have no place for.
    """

    def __init__(self, method: Method) -> None:
        if Role.PRETRAINED in method.roles:
            raise ValueError(
                f"{method.name}: needs {Role.PRETRAINED}, and base_model is {Role.REWARD_MODEL}"
            )
        self.method = method
        self.spec = MergeMethodSpec(
            name=method.name,
            pretty_name=method.title,
            reference_url=method.reference,
            contract=InputContract(
                base=BasePolicy.REQUIRED,
                min_non_base=1,
                max_non_base=method.most_domain_models,
            ),
            # What only the reward model has (its head, a vision tower) passes through.
            optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_BASE_SINGLETON,
            parameters=(
                *(spec for one in method.parameters for spec in _specs(one)),
                *_specs(ALLOW_UNRELATED),
                ParameterSpec(RESULT_DTYPE, str | None, ParameterScope.SHARED, default=None),
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
        reward, domain = group.base, group.non_base
        tensors = Tensors(
            name=name,
            reward=reward.tensor,
            domain=[entry.tensor for entry in domain],
            models=[entry.id for entry in (reward, *domain)],
            dtype=dtype_from_name(parameters.get(RESULT_DTYPE)) or reward.tensor.dtype,
        )

        def bound(parameter: str, model: Any) -> Any:
            value = parameters[parameter]
            return value if model is None else value[model]

        values = values_of(self.method, bound, tensors.models, name)
        is_vocabulary = group.metadata.vocabulary_axis == 0
        return formula.merged(self.method, tensors, values, is_vocabulary=is_vocabulary)


def _specs(one: Parameter) -> Iterator[ParameterSpec]:
    """A parameter as mergekit takes it, and what the recipe writes beside the reward model."""
    kind = Annotated[float, Field(allow_inf_nan=False)] if one.kind is float else one.kind
    # None: a filter that leaves a tensor out. It matters for the body only, and is refused there by
    # `values_of`; mergekit itself would ask for a value at the head too.
    default = None if one.required else one.default
    yield ParameterSpec(
        one.name, kind | None, _SCOPES[one.scope], default=default, description=one.description
    )
    if one.on_reward_model:
        yield ParameterSpec(one.on_reward_model, kind | None, ParameterScope.INPUT, default=None)


def values_of(
    method: Method, bound: Callable[[str, Any], Any], models: Sequence[Any], tensor: str
) -> dict[str, Any]:
    """A method's values at one tensor, from what mergekit found in the recipe.

    Args:
        method: what it declares.
        bound: what mergekit found for a parameter and a model, None for one of the merge.
        models: the reward model, then the domain models.
        tensor: of the body; for messages.

    Raises:
        MergeError: the recipe's filters leave the tensor without a value.
    """
    reward, *domain = models
    values: dict[str, Any] = {}
    for one in method.parameters:
        of_model = one.scope is Scope.DOMAIN_MODEL
        given = [bound(one.name, model) for model in (domain if of_model else [None])]
        if None in given:
            owner = domain[given.index(None)] if of_model else "the recipe"
            raise MergeError(one.left_out(owner, tensor))
        values[one.name] = given if of_model else given[0]
        if one.on_reward_model:
            values[one.on_reward_model] = bound(one.on_reward_model, reward)
    return values


def register(method: Method) -> None:
    """Let recipes name a method.

    Raises:
        ValueError: another one has its name, or see `HostedMethod`.
    """
    # Here, not above: when this module is what imports mergekit, that is still half imported.
    from mergekit.merge_methods import registry

    registry.register(HostedMethod(method))


def _known() -> dict[str, Method]:
    from mergekit.merge_methods import registry

    hosted = (one for one in registry.registered_methods() if isinstance(one, HostedMethod))
    return {one.spec.name: one.method for one in hosted}


def names() -> list[str]:
    """The names of all methods of this project, sorted."""
    return sorted(_known())


def of(name: str) -> Method:
    """What a method declares.

    Raises:
        MergeError: this project has no such method.
    """
    if (method := _known().get(name)) is None:
        raise MergeError(f"unknown merge_method {name}; there is {', '.join(names())}")
    return method


# Here, not in the hook: when this module is what imports mergekit, the hook runs before this line.
register(reward_preserving_linear.METHOD)
