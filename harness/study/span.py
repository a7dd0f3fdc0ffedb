# SPDX-License-Identifier: Apache-2.0
"""The values of one parameter that a search may try, and all of them where it is a grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.study.recipe import each

if TYPE_CHECKING:
    from dogerm_plugin.methods.parameter import Parameter

# A value has four decimals: a recipe stays readable, and bfloat16 has three.
DIGITS = 4
UNIT = 10**DIGITS
# Decimals of a value that --path works out: fewer than a float has, so that two labels never are
# one value.
SHARE_DIGITS = 9


@dataclass(frozen=True)
class Span:
    """The values of one parameter that may be tried.

    Attributes:
        parameter: of the method.
        low: the least; where the domain models share a total, the least total.
        high: the largest.
        by_name: whether they were typed as --param, not as --low and --high.

    Raises:
        HarnessError: bounds that the parameter does not have.
    """

    parameter: Parameter
    low: Decimal
    high: Decimal
    by_name: bool = False

    def __post_init__(self) -> None:
        one = self.parameter
        if not one.low <= self.low < self.high <= one.high:
            shared = " (with several domain models of their sum)" if self.is_shared else ""
            raise HarnessError(
                f"{self.typed(self.low, self.high)}: expected {_bound(one.low)}LOW < HIGH"
                f"{_bound(one.high, last=True)}, the bounds of {one.called}{shared}"
            )
        digits = 0 if one.kind is int else DIGITS
        for bound in (self.low, self.high):
            if bound != round(bound, digits):
                raise HarnessError(f"{self.typed(bound)}: expected at most {digits} decimals")

    def typed(self, *bounds: Decimal) -> str:
        """One or both of the bounds as an option, for messages."""
        if self.by_name:
            return f"--param {self.parameter.name}={':'.join(map(str, bounds))}"
        names = {self.low: "--low", self.high: "--high"}
        return " ".join(f"{names[bound]} {bound}" for bound in bounds)

    @property
    def is_shared(self) -> bool:
        """Whether the domain models' values are parts of one total."""
        return self.parameter.most_in_sum is not None

    @property
    def each(self) -> bool:
        """Whether every domain model has a value of its own."""
        return each(self.parameter)

    def rounded(self, value: float) -> float:
        """Down to `DIGITS` decimals; what binary fractions lack of a decimal is made up for."""
        if self.parameter.kind is int:
            return round(value)
        return math.floor(value * UNIT + 1e-6) / UNIT

    def ways(self, models: int, step: Decimal) -> list[tuple[Decimal, ...]]:
        """Every value, or every way to give the models values, of a grid with this step."""
        if self.is_shared and models > 1 and self.each:
            return ways_to_share(models, self.low, self.high, step)
        axis = [way for (way,) in ways_to_share(1, self.low, self.high, step)]
        return list(itertools.product(axis, repeat=models if self.each else 1))

    def count(self, models: int, step: Decimal) -> int:
        """How many ways there are on a grid with this step, without making them."""
        if self.is_shared and models > 1 and self.each:
            return count_ways(models, self.low, self.high, step)
        return count_ways(1, self.low, self.high, step) ** (models if self.each else 1)

    def start(self, models: int) -> Decimal:
        """A grid's first value: where models share a total, one may have 0 whatever the total."""
        return Decimal(0) if self.is_shared and models > 1 else self.low


def declared(parameter: Parameter, low: Decimal | None = None, high: Decimal | None = None) -> Span:
    """The values of a parameter within its own bounds, or within narrower ones.

    Raises:
        HarnessError: it has no bounds, and none are given.
    """
    usual = parameter.searched
    least = Decimal(str(usual[0])) if low is None else low
    most = Decimal(str(usual[1])) if high is None else high
    for bound, option in ((least, "--low"), (most, "--high")):
        if not bound.is_finite():
            raise HarnessError(f"{parameter.called} has no bounds of its own: give {option}")
    return Span(parameter, least, most)


def _bound(number: float, *, last: bool = False) -> str:
    """`0 <= ` or ` <= 1`; nothing where there is no bound."""
    if not math.isfinite(number):
        return ""
    return f" <= {number:g}" if last else f"{number:g} <= "


def count_ways(models: int, low: Decimal, high: Decimal, step: Decimal) -> int:
    """How many ways there are to give domain models multiples of a step, their sum in bounds.

    >>> count_ways(1, Decimal("0.2"), Decimal("0.4"), Decimal("0.1"))
    3
    >>> count_ways(2, Decimal(0), Decimal(1), Decimal("0.5"))
    6
    """
    if models == 1:
        return int((high - low) / step) + 1
    below = math.ceil(low / step) - 1  # the largest sum that is too small, in steps
    return _up_to(models, int(high / step)) - _up_to(models, below)


def _up_to(models: int, steps: int) -> int:
    """The ways to share at most so many steps."""
    return math.comb(steps + models, models) if steps >= 0 else 0


def ways_to_share(
    models: int, low: Decimal, high: Decimal, step: Decimal
) -> list[tuple[Decimal, ...]]:
    """The ways themselves: from `low` in steps with one model; with several, multiples of it.

    >>> [[str(λ) for λ in way] for way in ways_to_share(2, Decimal(0), Decimal(1), Decimal(1))]
    [['0', '0'], ['0', '1'], ['1', '0']]
    """
    if models == 1:
        steps = range(count_ways(models, low, high, step))
        return [(low + index * step,) for index in steps]
    shares = _shared(models, int(high / step))
    return [tuple(part * step for part in parts) for parts in shares if sum(parts) * step >= low]


def _shared(models: int, steps: int) -> Iterator[tuple[int, ...]]:
    if not models:
        yield ()
        return
    for mine in range(steps + 1):
        for others in _shared(models - 1, steps - mine):
            yield (mine, *others)


def shares(total: Decimal, ratio: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """A total divided in a ratio; what rounding leaves is the last one's, so the sum is exact.

    >>> [str(share) for share in shares(Decimal("0.5"), [Decimal(2), Decimal(1), Decimal(0)])]
    ['0.333333333', '0.166666667', '0']
    """
    whole = sum(ratio, Decimal(0))
    unit = Decimal(1).scaleb(-SHARE_DIGITS)
    parts = [(total * part / whole).quantize(unit, ROUND_DOWN) if part else part for part in ratio]
    last = max(index for index, part in enumerate(ratio) if part)
    parts[last] += total - sum(parts)
    return tuple(parts)
