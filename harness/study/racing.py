# SPDX-License-Identifier: Apache-2.0
"""Which points of a race have lost: pure functions of the values of the units seen so far.

Rows are seen in an order that has nothing to do with them, the same for all points, so the units
(rows of one prompt, which stay together) are drawn without replacement from all units of the
selection rows. For each two points there is a bet against "the first one's score on all rows is at
least the second's": its capital is multiplied at each unit by a factor that has a mean of at most 1
where that is true (Waudby-Smith and Ramdas, Confidence sequences for sampling without replacement,
NeurIPS 2020; the stake is spread evenly over fixed shares, `STAKES`). Against "this point is the
best of all" the mean of its capitals against all others is such a capital, too.

What that guarantees, by Ville's inequality: **the point with the best score on all selection rows
is lost with a chance of at most `ALPHA` in a whole race**, however many parts, looks and points
there are, whatever the rows' values in 0..1 and however the points depend on each other. Nothing is
approximate, and a race that was stopped and goes on is the same race. Where the best is not lost,
the race chooses what the full sweep chooses. It says nothing about rows that are not there: what
the choice is worth, the report rows tell.

`halved` has no such guarantee: it is successive halving (Jamieson and Talwalkar, Non-stochastic
best arm identification and hyperparameter optimization, AISTATS 2016), which bounds the cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# The chance that the best is lost.
ALPHA = 0.05
# Shares of the largest stake: that of a clear difference of points that often disagree is small,
# that of points which seldom disagree, and then in one direction, is large.
STAKES = (0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.9)
# Equal parts of the units, one after another; after each some may be dropped.
PARTS = 8
# After so many parts this share of all points goes on, where a race is to cost half.
HALVES = {2: 0.5, 4: 0.25}
SIGNIFICANT, HALVING = "significant", "halving"


def lost(
    values: Sequence[Values],
    running: Iterable[int],
    units: int,
    bound: float,
    alpha: float = ALPHA,
) -> list[int]:
    """Those of the running points that have been shown not to be the best of all.

    Args:
        values: of each point, of the units that it has seen, in the order of all; larger is better,
            and their mean over all units is the score.
        running: numbers of the points in question.
        units: how many there are in all.
        bound: no two points' values of a unit differ by more.
        alpha: the chance that the best point is among them, over the whole race.
    """
    enough = np.log(1 / alpha)
    return [one for one in running if evidence(values, one, units, bound) >= enough]


def evidence(values: Sequence[Values], number: int, units: int, bound: float) -> float:
    """The largest logarithm so far of the capital against "this point is the best of all".

    Against a point that saw less it stays what it was when that one had seen its last.

    Args:
        values: see `lost`.
        number: of the point.
        units: see `lost`.
        bound: see `lost`.
    """
    own = values[number]
    against = []
    for other, theirs in enumerate(values):
        if other == number:
            continue
        both = min(len(own), len(theirs))
        capital = log_capital(own[:both] - theirs[:both], units, bound)
        against.append(
            np.pad(capital, (0, len(own) - both), mode="edge") if both else np.zeros(len(own))
        )
    if not against or not len(own):
        return 0.0
    return float(_log_mean(np.stack(against)).max())


def log_capital(differences: Values, units: int, bound: float) -> Values:
    """The logarithm of the capital after each unit, of a bet that the mean over all is below 0.

    Were it 0 or more, the mean of what is left would be at least what makes up for the sum so far;
    each stake is on the next difference being below that.

    Args:
        differences: of the units seen so far, drawn without replacement; each in -bound..bound.
        units: how many there are in all.
        bound: see `differences`.
    """
    sums, number = np.cumsum(differences), np.arange(len(differences))
    # Behind by more than all that is left could make up for: it can't be true any more.
    beyond = np.maximum.accumulate(-sums > bound * (units - number - 1 + 1e-9))
    least = np.clip((differences - sums) / (units - number), -bound, bound)
    most = 0.99 / np.maximum(bound - least, 1e-12 * bound)  # with more, a loss could cost all
    stakes = np.minimum(np.asarray(STAKES)[:, None] / bound, most)
    grown = np.cumsum(np.log1p(stakes * (least - differences)), axis=1)
    return np.where(beyond, np.inf, _log_mean(grown))


def halved(scores: Sequence[float], done: int, keep: Collection[int]) -> list[int]:
    """The points that are too many after a part, where a race is to cost half; the worst ones.

    Args:
        scores: of all points on the rows that all who are still in the race have seen; -inf of
            those who are not. Larger is better.
        done: how many parts there have been.
        keep: points that stay whatever their score.
    """
    if done not in HALVES:
        return []
    room = max(int(len(scores) * HALVES[done]) - len(keep), 1)
    others = [n for n, score in enumerate(scores) if score > -np.inf and n not in keep]
    # Of equal ones the first, which is that of the smallest total, as in a full sweep.
    return sorted(sorted(others, key=lambda n: -scores[n])[room:])


def _log_mean(logs: Values) -> Values:
    """The logarithm of the mean over the first axis of what these are the logarithms of."""
    largest = logs.max(axis=0)
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logs - largest).mean(axis=0)
    return np.where(np.isinf(largest), largest, largest + np.log(shifted))
