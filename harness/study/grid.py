# SPDX-License-Identifier: Apache-2.0
"""The numbers that a user types, and the points of a sweep: all combinations, or a line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.study.recipe import Point, each, strength_of
from harness.study.span import shares

if TYPE_CHECKING:
    from dogerm_plugin.methods.parameter import Parameter
    from harness.study.recipe import StudyRecipe

# What is tried of λ where a user says nothing.
WEIGHTS = "0:1:0.05"
# A typing slip such as 0:1:0.00001 should not start a week's work.
MOST = 10_000
# Decimals of a number that is typed.
DIGITS = 6


@dataclass(frozen=True)
class Axis:
    """What a user wants to try of one parameter.

    Attributes:
        parameter: of the method.
        texts: see `parse`; one, or for a parameter of each domain model one for each.
        option: what stands before a text, for messages.
    """

    parameter: Parameter
    texts: Sequence[str]
    option: str

    def ways(
        self, models: Sequence[str], ratio: Sequence[Decimal] | None
    ) -> Iterator[float | list[float]]:
        """Every value of the parameter, or every list of one for each domain model.

        Args:
            models: the domain models.
            ratio: how a total is divided among them: a line instead of all combinations.

        Raises:
            HarnessError: other counts than domain models; a number out of bounds.
        """
        axes = [self._numbers(text) for text in self.texts]
        if not each(self.parameter):
            if len(axes) != 1:
                raise HarnessError(
                    f"{self.option.strip()} is given {len(axes)} times: it is of the whole merge, "
                    "give it once"
                )
            return map(float, axes[0])
        if ratio is not None:
            if len(axes) != 1:
                raise HarnessError(f"--path takes one {self.option.strip()}, the total of the line")
            return (list(map(float, shares(total, ratio))) for total in axes[0])
        if len(axes) not in (1, len(models)):
            raise HarnessError(
                f"{self.option.strip()} is given {len(axes)} times, and the recipe has "
                f"{len(models)} domain models ({', '.join(models)}): give it once, or once for "
                "each in this order"
            )
        axes = axes * len(models) if len(axes) == 1 else axes
        return (list(map(float, way)) for way in itertools.product(*axes))

    def _numbers(self, text: str) -> list[Decimal]:
        numbers = parse(text, self.option)
        one = self.parameter
        owner = "a domain model's" if each(one) else "the merge's"
        for number in numbers:
            if not one.low <= number <= one.high or (one.kind is int and number % 1):
                kind = " (whole numbers)" if one.kind is int else ""
                raise HarnessError(
                    f"{self.option}{text}: {number} is not {one.range}{kind}: it is "
                    f"{one.described(owner)}"
                )
        return [number + 0 for number in numbers]  # no -0


def axes(
    recipe: StudyRecipe, weights: Sequence[str], typed: Mapping[str, Sequence[str]]
) -> list[Axis]:
    """What to try of each parameter, the one that points are shown by first.

    Args:
        recipe: whose parameters.
        weights: as typed for --weight; none: a default, where nothing else is varied or λ is a
            share of the whole.
        typed: as typed for --grid: parameter -> texts.

    Returns:
        None for a method with nothing that says how much of the domain models there is, where a
        user names nothing either.

    Raises:
        HarnessError: no such parameter; one that is given twice.
    """
    strength = strength_of(recipe.method)
    others, option = dict(typed), "--weight "
    if strength is not None and strength.name in others:
        if weights:
            raise HarnessError(
                f"--grid {strength.name}: --weight is that, too: give one of the two"
            )
        weights, option = others.pop(strength.name), f"--grid {strength.name}="
    elif weights and (strength is None or (strength.at_rest is None and strength.name != "weight")):
        raise HarnessError(
            f"--weight {weights[0]}: {recipe.method.name} has no weight; name what to vary, as in "
            f"--grid {strength.name if strength else 'NAME'}=START:STOP:STEP"
        )
    made = []
    if weights or (strength is not None and (not others or strength.most_in_sum is not None)):
        assert strength is not None
        made.append(Axis(strength, tuple(weights) or (_default(strength),), option))
    for name, texts in others.items():
        made.append(Axis(recipe.beside(name, f"--grid {name}"), texts, f"--grid {name}="))
    return made


def _default(parameter: Parameter) -> str:
    """What is tried where a user says nothing: λ in steps of a twentieth, others in tenths."""
    low, high = parameter.searched
    if not parameter.bounded:
        raise HarnessError(
            f"{parameter.called} has no bounds of its own: say what to try, as in --weight 0:1:0.1"
        )
    return WEIGHTS if (low, high) == (0, 1) else f"{low:g}:{high:g}:{(high - low) / 15:g}"


def points(
    recipe: StudyRecipe, axes: Sequence[Axis], ratio: Sequence[Decimal] | None = None
) -> list[Point]:
    """Every point to measure, by its distance from the reward model, which is the first.

    Args:
        recipe: whose parameters.
        axes: what to try; the parameter that points are shown by is the first. None: the recipe
            as it is.
        ratio: how ``--path`` divides a total of λ among the domain models.

    Returns:
        All combinations that the method can merge with, or the line.

    Raises:
        HarnessError: see `Axis.ways`; nothing to try, or far too much.
    """
    if not axes:
        return [recipe.rest, recipe.point({})]
    models = recipe.domain_models
    ways = [axis.ways(models, None if number else ratio) for number, axis in enumerate(axes)]
    names = [axis.parameter.name for axis in axes]
    allowed = (
        values
        for way in itertools.product(*ways)
        if recipe.allows(values := dict(zip(names, way, strict=True)))
    )
    by_label: dict[str, Point] = {}
    for values in allowed:
        point = recipe.point(values)
        by_label[point.label] = point
        if len(by_label) > MOST:
            raise HarnessError(
                f"{axes[0].option.strip()}: a grid of more than {MOST:,} points; take larger "
                "steps, a line (--path), or dogerm search"
            )
    moved = [point for point in by_label.values() if not point.at_rest]
    if not moved:
        typed = " ".join(f"{axis.option}{text}" for axis in axes for text in axis.texts)
        most = axes[0].parameter.most_in_sum
        raise HarnessError(
            f"{typed}: nothing to try but {recipe.rest.label}, the reward model itself"
            + (
                f" ({axes[0].parameter.name}s that sum to more than {most:g} are left out)"
                if most is not None and len(models) > 1
                else ""
            )
        )
    moved.sort(key=lambda point: (point.distance, _sorted_by(point)))
    return [recipe.rest, *moved]


def _sorted_by(point: Point) -> list[Any]:
    return [value if isinstance(value, list) else [value] for value in point.values.values()]


def ends(points: Sequence[Point]) -> list[Point]:
    """The reward model itself, and the most that was tried of each domain model alone.

    On a line through several models, where none is alone, its last point.

    Args:
        points: as `points` gives them.
    """
    alone: dict[int, Point] = {}
    for point in points[1:]:
        pairs = zip(point.strengths, points[0].strengths, strict=True)
        used = [index for index, (value, rest) in enumerate(pairs) if value != rest]
        if len(used) == 1:
            alone[used[0]] = point  # the last is the largest
    return [points[0], *((alone[index] for index in sorted(alone)) if alone else points[-1:])]


def parse(text: str, option: str = "--weight ") -> list[Decimal]:
    """The numbers of ``start:stop:step`` (the stop included) or of a list with commas.

    Decimal arithmetic: 0:1:0.05 has 0.35 and not 0.35000000000000003.

    >>> [str(n) for n in parse("0:0.2:0.1")], [str(n) for n in parse("0.5,0.25")]
    (['0.0', '0.1', '0.2'], ['0.5', '0.25'])

    Args:
        text: what was typed.
        option: what stands before it, for messages.

    Raises:
        HarnessError: not such a text.
    """
    if ":" not in text:
        return [number(part, option, text) for part in text.split(",")]
    parts = [number(part, option, text) for part in text.split(":")]
    if len(parts) != 3:
        raise HarnessError(f"{option}{text}: expected START:STOP:STEP, as in 0:1:0.05")
    start, stop, step = parts
    if step <= 0 or stop < start:
        raise HarnessError(f"{option}{text}: expected START <= STOP and STEP > 0, as in 0:1:0.05")
    count = int((stop - start) / step) + 1
    if count > MOST:
        raise HarnessError(f"{option}{text}: {count:,} values; did you mean a larger step?")
    numbers = [start + step * index for index in range(count)]
    if numbers[-1] != stop:
        raise HarnessError(
            f"{option}{text}: steps of {step} from {start} end at {numbers[-1]}, not at {stop}"
        )
    return numbers


def parse_ratio(text: str, models: Sequence[str]) -> list[Decimal]:
    """The numbers of ``--path``, one for each domain model.

    Raises:
        HarnessError: another count, a number below 0, or all 0.
    """
    numbers = [number(part, "--path ", text) for part in text.split(",")]
    if len(numbers) != len(models) or min(numbers) < 0 or not any(numbers):
        raise HarnessError(
            f"--path {text}: expected {len(models)} numbers, one for each domain model "
            f"({', '.join(models)}), such as {','.join(['1'] * len(models))}"
        )
    return numbers


def number(text: str, option: str, whole: str) -> Decimal:
    """One number of what was typed.

    Raises:
        HarnessError: it is none, or one that no float holds as it is written.
    """
    try:
        read = Decimal(text.strip())
    except InvalidOperation:
        read = Decimal("NaN")
    if not read.is_finite():
        raise HarnessError(
            f"{option}{whole}: {text.strip()!r} is not a number; "
            "expected START:STOP:STEP or a list such as 0,0.3,0.6"
        )
    if read != 0 and not -DIGITS <= read.adjusted() <= DIGITS:
        raise HarnessError(f"{option}{whole}: {text.strip()} is out of range")
    if read != round(read, DIGITS):
        raise HarnessError(f"{option}{whole}: {text.strip()} has more than {DIGITS} decimals")
    return read


def named(option: str, texts: Sequence[str], expected: str) -> dict[str, list[str]]:
    """What ``--grid NAME=VALUES`` says: name -> what follows, in the order that it was typed.

    Args:
        option: its name.
        texts: as typed.
        expected: such an option as it should be, for messages.

    Raises:
        HarnessError: no name or nothing behind it.
    """
    given: dict[str, list[str]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if not name.strip() or not values.strip():
            raise HarnessError(f"{option} {text}: expected {expected}")
        given.setdefault(name.strip(), []).append(values.strip())
    return given
