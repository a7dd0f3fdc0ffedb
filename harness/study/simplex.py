# SPDX-License-Identifier: Apache-2.0
"""The λs of a grid: every way to give k domain models multiples of a step, their sum in bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal


def count(models: int, low: Decimal, high: Decimal, step: Decimal) -> int:
    """How many ways there are, without making them.

    >>> count(1, Decimal("0.2"), Decimal("0.4"), Decimal("0.1"))
    3
    >>> count(2, Decimal(0), Decimal(1), Decimal("0.5"))
    6
    """
    if models == 1:
        return int((high - low) / step) + 1
    below = math.ceil(low / step) - 1  # the largest sum that is too small, in steps
    return _up_to(models, int(high / step)) - _up_to(models, below)


def _up_to(models: int, steps: int) -> int:
    """The ways to share at most so many steps."""
    return math.comb(steps + models, models) if steps >= 0 else 0


def ways(models: int, low: Decimal, high: Decimal, step: Decimal) -> list[tuple[Decimal, ...]]:
    """All of them: from `low` in steps with one model; with several, multiples of the step.

    >>> [[str(λ) for λ in way] for way in ways(2, Decimal(0), Decimal(1), Decimal(1))]
    [['0', '0'], ['0', '1'], ['1', '0']]
    """
    if models == 1:
        steps = range(count(models, low, high, step))
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
