# SPDX-License-Identifier: Apache-2.0
"""Weighted best-of-N: the reward and the vote together.

Each candidate votes for its answer with exp(reward). That is, but for a factor, how probable the
model holds it to be the best of those there (Bradley and Terry's model, for more than two: Luce's),
so the sum over the candidates of one answer is how probable it holds that answer to be the best.
Equal rewards make it the majority vote; rewards far apart make it best-of-N.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

EXACT = 20_000  # subsets: 8 of 16 are 12,870
DRAWN = 2_000
_EQUAL = 1e-9  # relative: sums of the same votes in another order
_LARGEST = 1e300  # what an infinite score counts as, so that differences are numbers


def weighted_best_of_n(
    scores: Sequence[float],
    answers: Sequence[Hashable | None],
    labels: Sequence[float],
    size: int,
) -> float:
    """Expected correctness of the answer with the largest sum of exp(score); 0 to 1.

    The mean over every subset of `size` candidates where there are at most `EXACT`, else over
    `DRAWN` that are drawn once, the same for all questions of as many candidates.

    Equal sums share the choice equally. A candidate without an answer (None), or whose score is not
    a number, has no vote; where nobody votes, the answer is wrong. Candidates of one answer that
    are labelled differently count by their mean.

    Args:
        scores: one a candidate; a reward model's, or anything on a scale of log odds.
        answers: what each candidate answers.
        labels: 1 for a correct candidate, 0 for a wrong one.
        size: N, the candidates that there are to choose from.

    >>> weighted_best_of_n([1.0, 1.0, 1.5], ["4", "4", "5"], [1, 1, 0], 3)  # 2 e > e ** 1.5
    1.0
    >>> weighted_best_of_n([1.0, 1.0, 2.0], ["4", "4", "5"], [1, 1, 0], 3)  # 2 e < e ** 2
    0.0
    """
    correct: dict[Hashable, list[float]] = {}
    for _, answer, label in zip(scores, answers, labels, strict=True):
        if answer is not None:
            correct.setdefault(answer, []).append(label)
    if not correct:
        return 0.0
    places = {answer: place for place, answer in enumerate(correct)}
    votes = np.full(len(scores), -np.inf)
    gives = np.zeros((len(scores), len(places)))  # which answer a candidate that votes gives
    for candidate, (score, answer) in enumerate(zip(scores, answers, strict=True)):
        if answer is not None and not math.isnan(score):
            votes[candidate] = min(max(score, -_LARGEST), _LARGEST)
            gives[candidate, places[answer]] = 1.0
    present = np.where(_members(len(scores), min(size, len(scores))), votes, -np.inf)
    # Each subset by its own largest, as exp() of a whole response's likelihood is no number.
    unit = np.maximum(present.max(1, keepdims=True), -_LARGEST)
    sums = np.exp(present - unit) @ gives
    largest = sums.max(1, keepdims=True)
    first = (sums >= largest * (1 - _EQUAL)) & (largest > 0)
    share = np.array([sum(given) / len(given) for given in correct.values()])
    return float(((first @ share) / np.maximum(first.sum(1), 1)).mean())


@lru_cache(maxsize=64)
def _members(count: int, size: int) -> np.ndarray:
    """Which candidates are in a subset, bool [subsets, count]: of all, or of some."""
    if math.comb(count, size) <= EXACT:
        places = np.array(list(combinations(range(count), size)))
    else:
        places = np.random.default_rng([count, size]).random((DRAWN, count)).argsort(1)[:, :size]
    members = np.zeros((len(places), count), dtype=bool)
    np.put_along_axis(members, places, True, axis=1)
    return members
