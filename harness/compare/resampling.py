# SPDX-License-Identifier: Apache-2.0
"""Draws of a mean difference: pure functions of the items' differences.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 (several
samples), 13 (percentile intervals) and 15 (permutation tests); of items that belong together,
Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]

# Numbers drawn at a time (16 MiB with their indices), however many items there are.
_AT_A_TIME = 2**20


class Drawn(NamedTuple):
    """What is drawn as one: an item by itself, or the items that share a prompt.

    Attributes:
        sums: of the differences of each one's items.
        sizes: how many items each has.
    """

    sums: Values
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, differences: Values, prompts: Sequence[str] | None = None) -> Drawn:
        """Every item by itself, or together by its prompt, in the order in which these come."""
        if prompts is None:
            return cls(differences, np.ones(len(differences), dtype=np.int64))
        numbers: dict[str, int] = {}
        of = np.array([numbers.setdefault(prompt, len(numbers)) for prompt in prompts])
        sums = np.bincount(of, weights=differences).astype(np.float64)
        return cls(sums, np.bincount(of).astype(np.int64))

    @property
    def together(self) -> bool:
        """Whether any is more than one item."""
        return bool((self.sizes > 1).any())


def bootstrap_means(drawn: Drawn, resamples: int, generator: np.random.Generator) -> Values:
    """The mean over items of each of `resamples` samples, drawn with replacement."""
    count = len(drawn.sums)
    means = []
    for rows in _portions(resamples, count):
        picked = generator.integers(count, size=(rows, count))
        if drawn.together:
            items = np.take(drawn.sizes, picked).sum(axis=1)
            means.append(np.take(drawn.sums, picked).sum(axis=1) / items)
        else:
            means.append(np.take(drawn.sums, picked).mean(axis=1))
    return np.concatenate(means)


class Shared(NamedTuple):
    """What is drawn as one across strata that have prompts in common.

    Attributes:
        sums: (drawn, strata), of the differences of each one's items in each stratum.
        sizes: (drawn, strata), how many items that are.
    """

    sums: Values
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, strata: Sequence[tuple[Values, Sequence[str]]]) -> Shared:
        """The items of all strata, each stratum's differences and prompts, by their prompts."""
        numbers: dict[str, int] = {}
        placed = [[numbers.setdefault(one, len(numbers)) for one in asked] for _, asked in strata]
        count = len(numbers)
        sums = [np.bincount(p, d, count) for p, (d, _) in zip(placed, strata, strict=True)]
        sizes = [np.bincount(one, minlength=count) for one in placed]
        return cls(np.stack(sums, 1).astype(np.float64), np.stack(sizes, 1).astype(np.int64))


def bootstrap_sums(
    shared: Shared, weights: Values, resamples: int, generator: np.random.Generator
) -> Values:
    """The weighted sum of the strata's means in each of `resamples` samples of prompts.

    A sample has other numbers of a stratum's items than there are: its mean is a ratio of two sums,
    taken to first order (Davison and Hinkley, section 2.7.2), so that none is ever empty.
    """
    items = shared.sizes.sum(axis=0)
    means = shared.sums.sum(axis=0) / items
    moved = (shared.sums - shared.sizes * means) @ (weights / items)
    return float(means @ weights) + len(moved) * bootstrap_means(
        Drawn.of(moved), resamples, generator
    )


def sign_flipped_sums(
    shared: Shared, weights: Values, resamples: int, generator: np.random.Generator
) -> Values:
    """The weighted sums of the strata's means, the sign of each prompt's items by a fair coin."""
    parts = shared.sums @ (weights / shared.sizes.sum(axis=0))
    return len(parts) * sign_flipped_means(Drawn.of(parts), resamples, generator)


def percentiles(draws: Values, confidence: float) -> tuple[float, float]:
    """The percentile interval: what leaves (1 − confidence) / 2 of the draws on either side.

    For the mean of a few items (fewer than about 20) or of few items that differ it is too narrow;
    where no item differs it is a point. The exact p-value is right there too.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def sign_flipped_means(drawn: Drawn, resamples: int, generator: np.random.Generator) -> Values:
    """Means of the differences, the sign of what is drawn as one by a fair coin.

    That is what the mean would be if it made no difference which of the two values of an item is
    from which model (a paired permutation test).
    """
    count, items = len(drawn.sums), drawn.sizes.sum()
    means = [
        (2 * generator.integers(2, size=(rows, count), dtype=np.int8) - 1) @ drawn.sums / items
        for rows in _portions(resamples, count)
    ]
    return np.concatenate(means)


def monte_carlo_p(observed: float, null: Values) -> float:
    """Two-sided p-value of a value among draws under the null hypothesis.

    The observed value counts as one of the draws, so it is never 0 (Davison and Hinkley, Bootstrap
    Methods and their Application, 1997, section 4.2): the smallest is 1 / (draws + 1).
    """
    # Sums of the same numbers in another order may differ in their last bits.
    slack = 1e-12 * max(1.0, abs(observed))
    extreme = int((np.abs(null) >= abs(observed) - slack).sum())
    return (1 + extreme) / (1 + len(null))


def _portions(resamples: int, width: int) -> Iterator[int]:
    """How many resamples to draw at a time, so that memory does not grow with either number."""
    rows = max(1, _AT_A_TIME // width)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)
