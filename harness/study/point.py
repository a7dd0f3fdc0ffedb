# SPDX-License-Identifier: Apache-2.0
"""One setting of a recipe's parameters: what is proposed, measured and chosen among."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from harness.runs.identity import digest

if TYPE_CHECKING:
    from dogerm_plugin.methods.declaration import Method

# Its values stand in a label without a name.
LAMBDA = "λ"


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


def of(method: Method, models: int, values: Mapping[str, Any]) -> Point:
    """The point of some values.

    Args:
        method: declares the parameters.
        models: how many domain models the recipe has.
        values: see `Point`.
    """
    rest = method.at_rest(models)
    listed = {name: _listed(values[name]) for name in method.by_name if name in values}
    numbers = {name: all(map(_is_number, found)) for name, found in listed.items()}
    strengths: tuple[float, ...] = ()
    distance = Decimal(0)
    for name in [name for name in listed if name in rest and numbers[name]][:1]:
        strengths = tuple(listed[name] * (models if len(listed[name]) == 1 else 1))
        away = zip(listed[name], _listed(rest[name]), strict=True)
        distance = sum((abs(exact(a) - exact(b)) for a, b in away), Decimal(0))
    label = _numbers if all(numbers.values()) else _digest
    return Point(
        values=dict(values),
        label=label(method, listed),
        strengths=strengths,
        distance=float(distance),
        at_rest=any(listed[name] == _listed(rest[name]) for name in listed if name in rest),
    )


def exact(number: float) -> Decimal:
    """A number as it is written: 0.1 is a tenth."""
    return Decimal(str(number))


def _numbers(method: Method, listed: Mapping[str, list[Any]]) -> str:
    """Each number without needless zeros, behind its parameter's name; λ without."""
    return ",".join(
        ("" if method.by_name[name].symbol == LAMBDA else f"{name}=") + _plain(number)
        for name, found in listed.items()
        for number in found
    )


def _plain(number: float) -> str:
    text = f"{exact(number):f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _digest(method: Method, listed: Mapping[str, list[Any]]) -> str:
    """A name for values that differ by tensor."""
    flat: list[Any] = []
    for name, found in listed.items():
        flat += found if method.by_name[name].symbol == LAMBDA else [name, *found]
    return f"groups-{digest(flat)}"


def _listed(value: Any) -> list[Any]:
    """A parameter's values: those of the domain models, or the one of the merge."""
    is_conditions = isinstance(value, list) and value and isinstance(value[0], dict)
    return list(value) if isinstance(value, list | tuple) and not is_conditions else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
