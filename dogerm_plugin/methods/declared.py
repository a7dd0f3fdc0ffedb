# SPDX-License-Identifier: Apache-2.0
"""What mergekit says of a method of its own, in this project's terms."""

from __future__ import annotations

import types
import typing
from typing import Any

from mergekit.merge_methods.base import (
    BasePolicy,
    InputContract,
    MergeMethod,
    MergeMethodSpec,
    ParameterScope,
    ParameterSpec,
)

from dogerm_plugin.methods.declaration import PREFIX, Method, Role
from dogerm_plugin.methods.known_parameters import hint, spread_fits
from dogerm_plugin.methods.parameter import REQUIRED, SEED, UNMERGED, Parameter, Scope

_SEED = Parameter(
    SEED, Scope.MERGE, "seed of random numbers", kind=int, low=0, default=0, by_tensor=False
)


def declared(host: MergeMethod, *, draws: bool, by_row: bool) -> Method:
    """A method of mergekit's as `reward_preserving_<its name>`.

    `base_model` is the pretrained base where mergekit's method has a base and takes two models and
    more beside it; the reward model is one of these. Of methods between two models, and of those
    without a base, it is any of the models.

    Args:
        host: mergekit's.
        draws: whether it may draw random numbers.
        by_row: see `Method`.
    """
    spec = host.spec
    most = _most(spec.contract)
    from_base = _starts_from_base(spec.contract)
    # Those beside the domain models: the reward model, and the base.
    others = 2 if from_base and spec.contract.base is BasePolicy.REQUIRED else 1
    parameters = [_parameter(spec, one) for one in spec.parameters if not _is_idle(host, one)]
    has_seed = any(one.name == SEED for one in parameters)
    single = most == 1
    return Method(
        name=f"{PREFIX}{spec.name}",
        title=f"Reward-preserving {spec.pretty_name or spec.name}",
        reference=spec.reference_url or "",
        parameters=(
            *parameters,
            UNMERGED,
            *([_SEED] if draws and not has_seed else []),
        ),
        formula=None,
        constraint=spread_fits,
        base=Role.PRETRAINED if from_base else None,
        base_required=spec.contract.base is BasePolicy.REQUIRED,
        fewest_domain_models=0 if single else max(1, (spec.contract.min_inputs or 1) - others),
        most_domain_models=None if most is None or single else most - others,
        one_model_each=single,
        by_row=by_row,
        random=draws,
    )


def _most(contract: InputContract) -> int | None:
    """How many models a method takes, its base counted where it must have one."""
    if contract.max_non_base is not None:
        return contract.max_non_base + (contract.base is BasePolicy.REQUIRED)
    return contract.max_inputs


def _starts_from_base(contract: InputContract) -> bool:
    """Whether a base is what all other models were trained from, and none of those merged."""
    if contract.base is BasePolicy.OPTIONAL:
        return True
    most = _most(contract)
    return contract.base is BasePolicy.REQUIRED and (most is None or most > 2)


def _is_idle(host: MergeMethod, one: ParameterSpec) -> bool:
    """Whether a parameter changes nothing: task arithmetic takes a density, and drops nothing."""
    return one.name == "density" and getattr(host, "sparsification_method", True) is None


def _parameter(spec: MergeMethodSpec, one: ParameterSpec) -> Parameter:
    known = hint(spec.name, one.name, one.description)
    of_models = one.scope is not ParameterScope.SHARED
    kind = _kind(one.value_type)
    is_number = kind in (float, int)
    return Parameter(
        name=one.name,
        scope=Scope.DOMAIN_MODEL if of_models else Scope.MERGE,
        meaning=known.meaning,
        kind=kind,
        low=known.low if is_number else Parameter.low,
        high=known.high if is_number else Parameter.high,
        usual=known.usual if is_number else None,
        tuned=known.usual is not None,
        default=REQUIRED if one.required else one.default,
        example=known.example if one.required else one.default,
        on_reward_model=f"reward_{one.name}" if of_models else None,
    )


def _kind(value_type: Any) -> type:
    """A parameter's type without what says that it may be left out."""
    origin = typing.get_origin(value_type)
    if origin is typing.Annotated:
        return _kind(typing.get_args(value_type)[0])
    if origin in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(value_type) if one is not type(None)]
        return _kind(others[0]) if len(others) == 1 else object
    return value_type if value_type in (float, int, bool, str) else object
