# SPDX-License-Identifier: Apache-2.0
"""The weights that a search may try, and the numbers that Optuna draws for them.

A λ for each group of tensors and each domain model; in every group Σλ <= 1, the rest is the reward
model's. With one domain model Optuna draws λ itself. With k of them it draws, for each group, the
total Σλ and k − 1 numbers that break the total like a stick, so that every draw is a merge and
uniform draws are uniform over all ways to share a total: of what is left when model i has its turn,
it takes 1 − (1 − u)^(1 / (k − i)) (Devroye, Non-Uniform Random Variate Generation, 1986, V.2: the
first spacing of k − i uniform points). A grid has the λs themselves, the same steps for all.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from harness.errors import HarnessError
from harness.search import grid
from harness.sweep.weights import MOST

# λ has four decimals: a recipe stays readable, and bfloat16 has three.
DIGITS = 4
_UNIT = 10**DIGITS

Assigned = Mapping[str, list[str]]


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        models: the domain models, in the recipe's order.
        groups: group -> its tensors (`dogerm_plugin.recipe.groups.assign`); None: all share one λ.
        low: the least Σλ of a group.
        high: the largest.
        step: of the grid; None where λs are drawn.

    Raises:
        HarnessError: bounds or a step that leave no grid, or too large a one.
    """

    models: tuple[str, ...]
    groups: Assigned | None = None
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(1)
    step: Decimal | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise HarnessError(
                f"--low {self.low} --high {self.high}: expected 0 <= LOW < HIGH <= 1, the bounds "
                "of λ (with several domain models of their sum)"
            )
        for name, bound in (("--low", self.low), ("--high", self.high)):
            if bound * _UNIT % 1:
                raise HarnessError(f"{name} {bound}: expected at most {DIGITS} decimals")
        if self.step is not None:
            self._check_grid(self.step)

    def _check_grid(self, step: Decimal) -> None:
        if step <= 0 or step * _UNIT % 1:
            raise HarnessError(
                f"--step {step}: expected a number above 0 with at most {DIGITS} decimals"
            )
        if (self.high - self._start) % step:
            raise HarnessError(
                f"--step {step}: steps from {self._start} miss --high {self.high}; choose bounds "
                "that differ by a multiple of the step"
            )
        ways = grid.count(len(self.models), self.low, self.high, step)
        groups = len(self._names)
        if ways**groups > MOST:
            raise HarnessError(
                f"a grid with --step {step} has {ways**groups:,} points ({ways:,} in each of "
                f"{groups} groups), and at most {MOST:,} are measured: choose a larger --step, "
                "closer --low and --high, fewer --groups, or another --sampler"
            )

    def parameters(self) -> dict[str, tuple[float, float]]:
        """What Optuna draws: name -> bounds."""
        bounds = float(self.low), float(self.high)
        if self.step is not None:
            return dict.fromkeys(self.lambda_names, (float(self._start), bounds[1]))
        if len(self.models) == 1:
            return dict.fromkeys(self.lambda_names, bounds)
        found = {}
        for group in self._names:
            found[_joined(group, "total")] = bounds
            for model in self._short[:-1]:
                found[_joined(group, f"share of {model}")] = (0.0, 1.0)
        return found

    def lambdas(self, drawn: Mapping[str, float]) -> dict[str, float]:
        """λ by name, from what was drawn.

        In each group Σλ is at most the total that was drawn: λs are rounded down to `DIGITS`.
        """
        if self.step is not None or len(self.models) == 1:
            return {name: _rounded_down(drawn[name]) for name in self.lambda_names}
        found = {}
        for group in self._names:
            rest = drawn[_joined(group, "total")]
            for turn, model in enumerate(self._short[:-1], 1):
                number = drawn[_joined(group, f"share of {model}")]
                part = rest * (1 - (1 - number) ** (1 / (len(self.models) - turn)))
                found[_joined(group, model)] = _rounded_down(part)
                rest -= part
            found[_joined(group, self._short[-1])] = _rounded_down(rest)
        return found

    def weights(self, lambdas: Mapping[str, float]) -> tuple[Any, ...]:
        """For each domain model what mergekit takes as `weight`: a number, or conditions."""
        from dogerm_plugin.recipe import groups

        found: list[Any] = []
        for index in range(len(self.models)):
            of_group = {group: lambdas[self._name(group, index)] for group in self._names}
            if self.groups is None or len(set(of_group.values())) == 1:
                found.append(next(iter(of_group.values())))
            else:
                found.append(groups.setting(of_group, self.groups))
        return tuple(found)

    def points(self) -> list[dict[str, float]]:
        """The grid's λs by name, those with the smallest Σλ over all groups first."""
        assert self.step is not None
        ways = grid.ways(len(self.models), self.low, self.high, self.step)
        product = itertools.product(ways, repeat=len(self._names))
        points = [tuple(itertools.chain(*of_groups)) for of_groups in product]
        points.sort(key=lambda point: (sum(point), point))
        return [dict(zip(self.lambda_names, map(float, point), strict=True)) for point in points]

    @property
    def lambda_names(self) -> list[str]:
        """The names of all λs: of the group, the model or both, whatever there are several of."""
        return [
            self._name(group, index) for group in self._names for index in range(len(self.models))
        ]

    def as_dict(self) -> dict[str, str]:
        """What the space is, in words."""
        return {
            "groups": ", ".join(self._names) if self.groups is not None else "none",
            "bounds of λ": f"{self.low} to {self.high}",
            "step": str(self.step),
        }

    @property
    def _start(self) -> Decimal:
        """The grid's first λ: with several models one of them may be 0 whatever their sum."""
        return self.low if len(self.models) == 1 else Decimal(0)

    @property
    def _names(self) -> list[str]:
        return list(self.groups) if self.groups is not None else [""]

    @cached_property
    def _short(self) -> list[str]:
        names = [model.rstrip("/").rpartition("/")[2] for model in self.models]
        twice = {name for name, count in Counter(names).items() if count > 1}
        return [f"{n} {i}" if n in twice else n for i, n in enumerate(names, 1)]

    def _name(self, group: str, index: int) -> str:
        if len(self.models) == 1:
            return group or "weight"
        return _joined(group, self._short[index])


def _joined(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name


def _rounded_down(weight: float) -> float:
    """To `DIGITS` decimals; what binary fractions lack of a decimal number is made up for."""
    return math.floor(weight * _UNIT + 1e-6) / _UNIT
