# SPDX-License-Identifier: Apache-2.0
"""What a merge method says of itself, for all that reads, checks, merges or searches recipes.

A method is a `Method` with its `Parameter`s, handed to `registry.register`; nothing else knows it
by name. Its values have one shape everywhere (in its formula, in `Method.check`, in
`recipe.settings.written`): parameter name -> value, and for a parameter that each domain model has,
a sequence with one value for each, in the recipe's order: `{"weight": [0.3, 0.2], "scale": 0.5}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dogerm_plugin.anatomy.heads import Heads
from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.parameter import REQUIRED, SEED, Parameter, Scope

if TYPE_CHECKING:
    import torch

PREFIX = "reward_preserving_"
AVERAGE = "reward_average"
HEADS = "reward_heads"
# What the name of a method of this project begins with.
NAMES = (PREFIX, AVERAGE, HEADS)
Values = Mapping[str, Any]


class Role(StrEnum):
    """What a model of a recipe is for, as said to people."""

    REWARD_MODEL = "the reward model"
    DOMAIN_MODEL = "a domain model"
    PRETRAINED = "the pretrained base"


@dataclass(frozen=True)
class Tensors:
    """What a formula is given of one output tensor.

    Attributes:
        name: the tensor's, in the output.
        reward: the reward model's.
        domain: the domain models', in the recipe's order, of the same shape.
        models: the names of the reward model, of each domain model and of the base, for messages.
        dtype: what the result is rounded to.
        pretrained: the pretrained base's; None where the method has none.
    """

    name: str
    reward: torch.Tensor
    domain: Sequence[torch.Tensor]
    models: Sequence[object]
    dtype: torch.dtype
    pretrained: torch.Tensor | None = None

    @property
    def stored(self) -> list[torch.Tensor]:
        """Those of all models, in the order of `models`, the pretrained base's last."""
        base = [] if self.pretrained is None else [self.pretrained]
        return [self.reward, *self.domain, *base]


Formula = Callable[[Tensors, Values], "torch.Tensor"]


def _no_constraint(values: Values, where: str) -> None:
    """All that `Parameter` allows goes together."""


@dataclass(frozen=True)
class Method:
    """A merge method: its parameters, its formula, and how the models are to be merged.

    Attributes:
        name: `merge_method:` in YAML, `reward_preserving_<mergekit's own name>`, `reward_average`,
            or `reward_heads` and what follows `reward_preserving`.
        title: what people call it.
        reference: the paper's address.
        parameters: in the order in which people are told of them.
        formula: merges one tensor of the body; None: the method that mergekit itself has.
        constraint: refuses values that don't go together, with a MergeError that says at which
            tensor (empty: everywhere). It is given the values of one tensor, and those written
            beside the reward model by their `on_reward_model` name, None where there is none.
        base: who `base_model:` is: the reward model, the pretrained base that task vectors start
            from, or None: any of the models.
        base_required: whether a recipe must have one.
        fewest_domain_models: how many it needs.
        most_domain_models: how many it takes; None: as many as there are.
        one_model_each: whether it takes every tensor from one model alone.
        heads: what becomes of the models' heads; where they are not the reward model's alone, the
            first model that has one is the reward model.
        by_row: whether every row of a tensor is merged by itself, so that rows of aligned
            vocabularies may come some at a time.
        random: whether the formula draws random numbers: it is run with torch's generators set by
            the parameter `seed` and the tensor's name. A GPU draws other ones than a CPU.
        as_stored: whether the formula takes each tensor in the dtype that it is stored in, and
            rounds and checks its result itself. Others are given float32 (float64 if one is), and
            what they return is rounded once and checked.

    Raises:
        ValueError: a declaration that contradicts itself.
    """

    name: str
    title: str
    reference: str
    parameters: tuple[Parameter, ...]
    formula: Formula | None
    constraint: Callable[[Values, str], None] = _no_constraint
    base: Role | None = Role.REWARD_MODEL
    base_required: bool = True
    fewest_domain_models: int = 1
    most_domain_models: int | None = None
    one_model_each: bool = False
    heads: Heads = Heads.KEPT
    by_row: bool = False
    random: bool = False
    as_stored: bool = False

    def __post_init__(self) -> None:
        if not self.name.startswith(NAMES):
            known = ", ".join(NAMES)
            raise ValueError(f"{self.name}: the name of a method begins with one of {known}")
        if self.random and self.by_row:
            raise ValueError(f"{self.name}: rows drawn some at a time would repeat their numbers")
        if self.random and SEED not in self.by_name:
            raise ValueError(f"{self.name}: draws random numbers and has no parameter {SEED}")

    def with_all_heads(self) -> Method:
        """The same body, with the heads of all reward models: `reward_heads` and the rule."""
        rule = self.name.removeprefix(PREFIX)
        name = HEADS if self.name == AVERAGE else f"{HEADS}_{rule}"
        return replace(self, name=name, title=f"{self.title}, all heads", heads=Heads.STACKED)

    @property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @property
    def searchable(self) -> tuple[Parameter, ...]:
        """The parameters whose best values are looked for: numbers with bounds, but the seed."""
        return tuple(
            one for one in self.parameters if one.bounded and one.tuned and one.name != SEED
        )

    @property
    def strength(self) -> Parameter | None:
        """How much of the domain models there is: λ, or what stands for it; None without one."""
        numbers = [one for one in self.parameters if one.kind is float]
        of_models = [one for one in numbers if one.scope is Scope.DOMAIN_MODEL]
        return next(iter(of_models or [one for one in numbers if one.required]), None)

    @property
    def symbols(self) -> str:
        """What people call its parameters, as a list in words."""
        return ", ".join(one.called for one in self.parameters)

    def at_rest(self, domain_models: int) -> dict[str, Any]:
        """The values at which the merge is the reward model; empty where there are none.

        Args:
            domain_models: how many the recipe has.
        """
        return {
            one.name: [one.at_rest] * domain_models
            if one.scope is Scope.DOMAIN_MODEL
            else one.at_rest
            for one in self.parameters
            if one.at_rest is not None
        }

    def check(self, values: Values, where: str = "") -> None:
        """Refuse the values of one tensor if the method can't merge with them.

        Args:
            values: numbers, not lists over layers or conditions; parameters that are left out have
                their default.
            where: the tensor or the place, for the message.

        Raises:
            MergeError: a value missing, out of bounds, or one that does not go with the others.
        """
        counts = [len(values[one.name]) for one in self._of_domain_models if one.name in values]
        whole = {}
        for one in self.parameters:
            of_models = one in self._of_domain_models
            value = values.get(one.name, one.default)
            if value is REQUIRED:
                raise MergeError(f"{where or self.name}: no {one.name}")
            if of_models and one.name not in values:
                value = [value] * max(counts, default=1)
            for single in value if of_models else [value]:
                if single is not None or one.default is not None:
                    one.read(single, where or self.name)
            whole[one.name] = value
            if one.on_reward_model:
                whole[one.on_reward_model] = values.get(one.on_reward_model)
        self.constraint(whole, where)

    @property
    def _of_domain_models(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if one.scope is Scope.DOMAIN_MODEL)
