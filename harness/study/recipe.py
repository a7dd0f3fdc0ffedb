# SPDX-License-Identifier: Apache-2.0
"""The recipe of a study: its parameters at any point, and by any other method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.study.point import METHOD, Point, each, point_of, strength_of

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
        axis: the parameter that plots and tables show points by; empty: the method's own choice.
    """

    path: str
    text: str
    content: dict[str, Any]
    domain_models: tuple[str, ...]
    axis: str = ""

    @property
    def reward_model(self) -> str:
        from dogerm_plugin.recipe import roles

        return roles.reward_in(self.content)

    @property
    def method(self) -> Method:
        """What its merge method declares."""
        from dogerm_plugin.methods import registry

        return registry.of(self.content["merge_method"])

    @property
    def strength(self) -> Parameter:
        """The parameter that takes the merge away from the reward model: λ, or another's name.

        Raises:
            HarnessError: the method has none that says so, and none was named.
        """
        if self.axis:
            return self.method.by_name[self.axis]
        if (one := strength_of(self.method)) is None:
            raise HarnessError(
                f"{self.path}: {self.method.name} has no parameter that says how much of the "
                "domain models there is: sweep what it has, as in --grid NAME=START:STOP:STEP"
            )
        return one

    @property
    def shown_by(self) -> str:
        """What plots and tables call the numbers of points."""
        return self.strength.called if self.axis or strength_of(self.method) else "merge"

    @property
    def most(self) -> float:
        """How far from the reward model a merge can be; infinite where nothing bounds it."""
        if not self.axis and strength_of(self.method) is None:
            return math.inf
        one = self.strength
        models = len(self.domain_models) if each(one) else 1
        return one.high * models if one.most_in_sum is None else one.most_in_sum

    def beside(self, name: str, option: str) -> Parameter:
        """A number that may be varied beside the one that a command has options of its own for.

        Args:
            name: in YAML.
            option: what was typed, for messages.

        Raises:
            HarnessError: the method has no such number.
        """
        own = strength_of(self.method)
        known = {one.name: one for one in self.method.parameters if one.is_number and one != own}
        if own is not None and name == own.name:
            raise HarnessError(f"{option}: {own.called} has options of its own: --low and --high")
        if name not in known:
            what = "to vary" if own is None else f"to vary beside {own.called}"
            raise HarnessError(
                f"{option}: {self.method.name} has no parameter {name!r} {what} (it has: "
                f"{', '.join(known) or 'none'})"
            )
        return known[name]

    @property
    def rest(self) -> Point:
        """The point at which the merge is the reward model itself.

        Raises:
            HarnessError: the method has none, so that there is nothing to compare with.
        """
        for one in self.method.parameters:
            if one.at_rest is not None:
                value = one.kind(one.at_rest)
                models = len(self.domain_models)
                return self.point({one.name: [value] * models if each(one) else value})
        raise HarnessError(
            f"{self.path}: {self.method.name} has no parameter at which the merge is the reward "
            "model itself, so there is nothing to hold its merges against; compare two merges with "
            "dogerm compare"
        )

    @property
    def as_written(self) -> Point:
        """The merge at the recipe's own values: of a method with nothing to vary."""
        return self.point(dict.fromkeys(self.rest.values, False))

    def point(self, values: Mapping[str, Any]) -> Point:
        """See `point_of`."""
        if METHOD in values:
            numbers = {name: value for name, value in values.items() if name != METHOD}
            one = self.by(values[METHOD]).point(numbers)
            label = f"method={values[METHOD].removeprefix('reward_preserving_')},{one.label}"
            return replace(one, values=dict(values), label=label)
        axis = self.method.by_name[self.axis] if self.axis else None
        return point_of(self.method, len(self.domain_models), values, axis)

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

        numbers = dict(point.values)
        content = self.by(numbers.pop(METHOD)).content if METHOD in numbers else self.content
        return settings.written(content, numbers)

    def by(self, method: str) -> StudyRecipe:
        """The same models merged by another method.

        Raises:
            MergeError: see `dogerm_plugin.recipe.conversion`.
        """
        from dogerm_plugin.recipe import conversion

        if method == self.content["merge_method"]:
            return self
        return replace(self, content=conversion.by_method(self.content, method), axis="")

    def configuration(self, point: Point) -> Any:
        """The recipe with the point's values, as mergekit's `MergeConfiguration`."""
        from mergekit.config import MergeConfiguration

        return MergeConfiguration.model_validate(self.at(point))
