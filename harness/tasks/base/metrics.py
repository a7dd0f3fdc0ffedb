# SPDX-License-Identifier: Apache-2.0
"""Scores of rewards: pure functions, lists in, a number out.

The rule for a pair is RewardBench's: chosen must be strictly greater than rejected (a tie is
wrong), and a reward that is not a number is never right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# Of these lm-eval's table has the sum over the items (`harness.tasks.base.candidates`).
COUNTS = ("truncated",)


def accuracy(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """Share of pairs whose chosen reward is strictly greater; 0 to 1.

    >>> accuracy([1.0, 2.0, float("nan")], [0.0, 2.0, 0.0])
    0.3333333333333333
    """
    return _mean([float(c > r) for c, r in _pairs(chosen, rejected)])


def margin(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """Mean of chosen − rejected, in units of reward.

    >>> margin([1.0, 2.0], [0.0, 3.0])
    0.0
    """
    return _mean([c - r for c, r in _pairs(chosen, rejected)])


def ties(chosen: Sequence[float], rejected: Sequence[float]) -> float:
    """Share of pairs with exactly equal rewards; 0 to 1.

    >>> ties([1.0, 2.0], [1.0, 3.0])
    0.5
    """
    return _mean([float(c == r) for c, r in _pairs(chosen, rejected)])


def longer(chosen: Sequence[str], rejected: Sequence[str]) -> float:
    """The accuracy of always preferring the longer response (in characters); a tie is half a point.

    >>> longer(["a long one", "same"], ["short", "size"])
    0.75
    """
    lengths = [(len(c), len(r)) for c, r in zip(chosen, rejected, strict=True)]
    return _mean([(c > r) + (c == r) / 2 for c, r in lengths])


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Σ value·weight / Σ weight: RewardBench's section score, with weight = a subset's row count.

    In RewardBench v1 the weight of math-prm is 984 and not its 447 rows, so that maths counts as
    much as the six code subsets of 164 together.

    Raises:
        ValueError: unequal lengths, nothing to average, or weights that sum to 0.

    >>> weighted_mean([0.5, 1.0], [984, 164 * 6])
    0.75
    """
    total = sum(weights)
    if not values or len(values) != len(weights) or total <= 0:
        raise ValueError(f"cannot average {len(values)} values with weights {list(weights)}")
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total


def weighted_standard_error(errors: Sequence[float], weights: Sequence[float]) -> float:
    """Standard error of `weighted_mean` from the standard errors of independent values.

    >>> weighted_standard_error([0.3, 0.4], [1, 1])
    0.25
    """
    total = weighted_mean(weights, [1] * len(weights)) * len(weights)
    return math.sqrt(sum((e * w) ** 2 for e, w in zip(errors, weights, strict=True))) / total


def _pairs(chosen: Sequence[float], rejected: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(chosen, rejected, strict=True))


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError("no pairs to score")
    return sum(values) / len(values)
