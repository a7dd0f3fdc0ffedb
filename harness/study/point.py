# SPDX-License-Identifier: Apache-2.0
"""A point of a study: values of a recipe's parameters, their label, their distance from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from harness.runs.identity import digest

if TYPE_CHECKING:
    from dogerm_plugin.methods.declaration import Method
    from dogerm_plugin.methods.parameter import Parameter

# Its values stand in a label without a name.
LAMBDA = "λ"
# The value of a point that says by which method it is merged, where a search chooses that.
METHOD = "merge_method"
# The labels of the reward model itself, and of the only merge, where no number says which it is.
UNMERGED, AS_WRITTEN = "unmerged", "as-written"


@dataclass(frozen=True)
class Point:
    """Values of some of a merge method's parameters, as `dogerm_plugin.methods` has them.

    Attributes:
        values: parameter -> a number, or what mergekit takes for one (conditions by tensor name);
            for a parameter of each domain model a list, in the recipe's order.
        label: the values as text: the name of a folder, a column, a curve.
        strengths: what a plot shows the point at, for each domain model: the parameter that takes
            the merge away from the reward model. Empty where tensors differ in it.
        distance: how far all of them are from the reward model itself; Σλ.
        at_rest: whether the merge is the reward model itself.
    """

    values: Mapping[str, Any]
    label: str = field(compare=False)
    strengths: tuple[float, ...] = field(compare=False)
    distance: float = field(compare=False)
    at_rest: bool = field(compare=False)

    @property
    def named(self) -> dict[str, Any]:
        """The values as a run's settings have them: ``{"weights": [0.2, 0.1], "density": 0.5}``."""
        return {
            f"{name}s" if isinstance(value, list) else name: value
            for name, value in self.values.items()
        }

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.named.items())


def strength_of(method: Method) -> Parameter | None:
    """The number that takes a merge away from the reward model; None where nothing says so."""
    at_rest = [one for one in method.parameters if one.is_number and one.at_rest is not None]
    return next(iter(at_rest), method.strength)


def point_of(
    method: Method, models: int, values: Mapping[str, Any], axis: Parameter | None = None
) -> Point:
    """The point of some values: how it is called, and how far it is from the reward model.

    Args:
        method: declares the parameters.
        models: how many domain models the recipe has.
        values: see `Point`.
        axis: the parameter that says how far; the method's own choice by default.
    """
    rest = method.at_rest(models)
    listed = {name: _listed(values[name]) for name in method.by_name if name in values}
    numbers = {name: all(map(_is_number, found)) for name, found in listed.items()}
    at_rest = [name for name in listed if name in rest and listed[name] == _listed(rest[name])]
    unmerged = [name for name in at_rest if listed[name][0] is True]
    strengths: tuple[float, ...] = (0.0,) * models if unmerged else ()
    distance = Decimal(0)
    axis = axis or strength_of(method)
    away = [*([] if axis is None else [axis.name]), *rest]
    for name in [name for name in away if numbers.get(name) and name not in unmerged][:1]:
        own = listed[name]
        strengths = tuple(own * (models if len(own) == 1 else 1))
        start = exact(method.by_name[name].at_rest or 0)
        distance = sum((abs(exact(one) - start) for one in own), Decimal(0))
    label = (_numbers if all(numbers.values()) else _digest)(method, listed)
    if all(one[0] is False for one in listed.values()):
        label, strengths, distance = AS_WRITTEN, (1.0,) * models, Decimal(1)
    return Point(
        values=dict(values),
        label=UNMERGED if unmerged else label,
        strengths=strengths,
        distance=float(distance),
        at_rest=bool(at_rest),
    )


def exact(number: float) -> Decimal:
    """A number as it is written: 0.1 is a tenth."""
    return Decimal(str(number))


def _numbers(method: Method, listed: Mapping[str, list[Any]]) -> str:
    """A label of numbers, without needless zeros, each behind its parameter's name; λ without."""
    return ",".join(
        ("" if method.by_name[name].symbol == LAMBDA else f"{name}=") + _plain(number)
        for name, found in listed.items()
        for number in found
    )


def _plain(number: float) -> str:
    text = f"{exact(number):f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _digest(method: Method, listed: Mapping[str, list[Any]]) -> str:
    """A label for values that differ by tensor."""
    flat: list[Any] = []
    for name, found in listed.items():
        flat += found if method.by_name[name].symbol == LAMBDA else [name, *found]
    return f"groups-{digest(flat)}"


def _listed(value: Any) -> list[Any]:
    """A parameter's values: those of the domain models, or the one of the merge."""
    is_conditions = isinstance(value, list) and value and isinstance(value[0], dict)
    return list(value) if isinstance(value, list | tuple) and not is_conditions else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def each(parameter: Parameter) -> bool:
    """Whether every domain model has a value of a parameter."""
    from dogerm_plugin.methods.parameter import Scope

    return parameter.scope is Scope.DOMAIN_MODEL
