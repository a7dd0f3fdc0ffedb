# SPDX-License-Identifier: Apache-2.0
"""How the rewards of several models become one; pure functions, lists in, numbers out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

# One response's rewards, a number per member, and k.
_RULES: dict[str, Callable[[Sequence[float], float], float]] = {
    "mean": lambda rewards, k: statistics.fmean(rewards),
    "min": lambda rewards, k: min(rewards),
    "mean-std": lambda rewards, k: statistics.fmean(rewards) - k * statistics.pstdev(rewards),
}
RANK_MEAN = "rank-mean"
NAMES = (*_RULES, RANK_MEAN)


def combine(rule: str, rewards: Sequence[Sequence[float]], k: float = 1.0) -> list[float]:
    """Make the rewards of several models one number for each response of a document.

    Args:
        rule: one of `NAMES`. ``mean``, ``min`` and ``mean-std`` (mean − k · population standard
            deviation over the members) take each response by itself; ``rank-mean`` is the mean over
            the members of its rank among the document's responses (1 is the lowest, equal rewards
            share theirs).
        rewards: rewards[i][j] is response i's by member j.
        k: the weight of the standard deviation.

    >>> combine("mean-std", [[1.0, 3.0], [4.0, 4.0]], k=0.5)
    [1.5, 4.0]
    >>> combine("rank-mean", [[0.1, 70.0], [0.2, 30.0], [0.3, 50.0]])
    [2.0, 1.5, 2.5]
    """
    if rule == RANK_MEAN:
        from scipy.stats import rankdata

        return [statistics.fmean(row) for row in rankdata(rewards, axis=0)]
    return [_RULES[rule](row, k) for row in rewards]
