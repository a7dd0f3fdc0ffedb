# SPDX-License-Identifier: Apache-2.0
"""The recipe of a study: its parameters at any point, as mergekit takes it and as a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml

from harness.errors import HarnessError
from harness.study import point as points
from harness.study.point import Point

if TYPE_CHECKING:
    from dogerm_plugin.methods.declaration import Method
    from dogerm_plugin.methods.parameter import Parameter


@dataclass(frozen=True)
class StudyRecipe:
    """A recipe file of one of this project's merge methods.

    Attributes:
        path: as the user names it.
        text: all of the file.
        content: the YAML.
        domain_models: as written, in the file's order.
    """

    path: str
    text: str
    content: dict[str, Any]
    domain_models: tuple[str, ...]

    @property
    def reward_model(self) -> str:
        return named(self.content["base_model"])

    @property
    def method(self) -> Method:
        """What its merge method declares."""
        from dogerm_plugin.methods import registry

        return registry.of(self.content["merge_method"])

    @property
    def strength(self) -> Parameter:
        """The parameter that takes the merge away from the reward model; λ.

        Raises:
            HarnessError: the method has none, so that there is nothing to compare with.
        """
        for one in self.method.parameters:
            if one.at_rest is not None:
                return one
        raise HarnessError(
            f"{self.path}: {self.method.name} has no parameter at which the merge is the reward "
            "model itself, so there is nothing to hold its merges against; compare two merges with "
            "dogerm compare"
        )

    @property
    def most(self) -> float:
        """How far from the reward model a merge can be; infinite where nothing bounds it."""
        one = self.strength
        models = len(self.domain_models) if each(one) else 1
        return one.high * models if one.most_in_sum is None else one.most_in_sum

    def beside(self, name: str, option: str, instead: str) -> Parameter:
        """A number that may be varied beside `strength`.

        Args:
            name: in YAML.
            option: what was typed, for messages.
            instead: what options say the same of `strength`.

        Raises:
            HarnessError: the method has no such number.
        """
        if name == self.strength.name:
            raise HarnessError(f"{option}: that is {self.strength.called}: give it with {instead}")
        known = {one.name: one for one in self.method.parameters if one.kind is not bool}
        del known[self.strength.name]
        if name not in known:
            raise HarnessError(
                f"{option}: {self.method.name} has no parameter {name!r} to vary beside "
                f"{self.strength.called} (it has: {', '.join(known) or 'none'})"
            )
        return known[name]

    @property
    def rest(self) -> Point:
        """The reward model itself."""
        one = self.strength
        value = one.kind(one.at_rest)
        return self.point({one.name: [value] * len(self.domain_models) if each(one) else value})

    def point(self, values: Mapping[str, Any]) -> Point:
        """See `harness.study.point.of`."""
        return points.of(self.method, len(self.domain_models), values)

    def allows(self, values: Mapping[str, Any]) -> bool:
        """Whether the method merges with these values, as far as numbers tell."""
        from dogerm_plugin.errors import MergeError

        try:
            self.method.check({**self._numbers, **values}, "")
        except MergeError:
            return False
        return True

    @cached_property
    def _numbers(self) -> dict[str, Any]:
        """What the recipe itself says of the method's parameters, where that is plain numbers."""
        from dogerm_plugin.recipe import roles

        shared = self.content.get("parameters") or {}
        domain = roles.domain_entries(self.content)
        written = {}
        for one in self.method.parameters:
            holders = domain if each(one) else [{}]
            values = [
                (holder.get("parameters") or {}).get(one.name, shared.get(one.name, one.default))
                for holder in holders
            ]
            if not any(isinstance(value, list | dict) for value in values):
                written[one.name] = values if each(one) else values[0]
        return written

    def at(self, point: Point) -> dict[str, Any]:
        """The YAML with the point's values: numbers, or what mergekit takes for them.

        What contradicts them goes: the same parameter on the reward model, or above the models.
        """
        from dogerm_plugin.recipe import settings

        return settings.written(self.content, point.values)

    def configuration(self, point: Point) -> Any:
        """The same, as mergekit's `MergeConfiguration`."""
        from mergekit.config import MergeConfiguration

        return MergeConfiguration.model_validate(self.at(point))

    def written(self, point: Point, header: Sequence[str]) -> str:
        """The text of a recipe file with these values, below comment lines.

        The comments of the recipe itself are lost.
        """
        comments = "".join(f"# {_comment(line)}\n" for line in header)
        content = self.at(point)
        return comments + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)

    def refuse_shapes(self, names: Iterable[str]) -> None:
        """Refuse a parameter that is no plain number, whose shape a sweep would lose.

        Args:
            names: of the parameters that are to be replaced by numbers.

        Raises:
            HarnessError: a list or conditions.
        """
        from dogerm_plugin.recipe import roles

        domain = roles.domain_entries(self.content)
        refuse_shapes(self.path, self.content, domain, names)


def refuse_shapes(
    path: str,
    content: Mapping[str, Any],
    domain: Iterable[Mapping[str, Any]],
    names: Iterable[str],
) -> None:
    """See `StudyRecipe.refuse_shapes`.

    Args:
        path: of the recipe.
        content: its YAML.
        domain: the domain models' entries in it.
        names: of the parameters.
    """
    holders = {named(entry.get("model")): entry for entry in domain}
    for name in names:
        for place, holder in {**holders, "all models": content}.items():
            parameters = holder.get("parameters")
            value = parameters.get(name) if isinstance(parameters, dict) else None
            if isinstance(value, list | dict):
                raise HarnessError(
                    f"{path}: the {name} of {place} is a {type(value).__name__}, which a sweep "
                    "would replace by a number: give a number, or search it with dogerm search"
                )


def each(parameter: Parameter) -> bool:
    """Whether every domain model has a value of it."""
    from dogerm_plugin.methods.parameter import Scope

    return parameter.scope is Scope.DOMAIN_MODEL


def named(model: Any) -> str:
    """A model as text: a name, or mergekit's `{model: {path: ...}}`."""
    from mergekit.common import ModelReference

    try:
        return str(ModelReference.model_validate(model)) if isinstance(model, dict) else str(model)
    except ValueError:
        return str(model)  # not a model; told by the check of the whole recipe


def _comment(text: str) -> str:
    """A text as one line that a YAML reader skips: it refuses what can't be printed anywhere."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
