# SPDX-License-Identifier: Apache-2.0
"""What one question is worth at N, from all its n candidates: the mean over every N-subset.

A policy that had answered N times would have given one of the C(n, N) subsets of the n candidates
at hand, each as likely as any other. All functions give the exact mean over those subsets, by
counting; nothing is sampled. Where N is more than n, N = n counts (the question has no more).

`oracle` is pass@k of Chen et al. (arXiv 2107.03374, eq. 1) with k = N.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from math import comb


def best_of_n(scores: Sequence[float], labels: Sequence[float], size: int) -> float:
    """Expected correctness of the candidate with the highest score; 0 to 1.

    Equal scores share the choice equally. A score that is not a number is never chosen, so a subset
    of such candidates alone is a wrong answer.

    Args:
        scores: one a candidate.
        labels: 1 for a correct candidate, 0 for a wrong one.
        size: N, the candidates that there are to choose from.

    >>> best_of_n([3.0, 2.0, 1.0], [1, 0, 0], 2)  # chosen in 2 of the 3 pairs
    0.6666666666666666
    >>> best_of_n([2.0, 2.0, 1.0], [1, 0, 0], 3)
    0.5
    """
    size = min(size, len(scores))
    ranked = sorted(
        (s, label) for s, label in zip(scores, labels, strict=True) if not math.isnan(s)
    )
    below = len(scores) - len(ranked)
    won = 0.0
    while ranked:
        equal = [label for score, label in ranked if score == ranked[0][0]]
        ranked = ranked[len(equal) :]
        # The subsets whose maximum is this score. Those of its candidates that are in such a subset
        # are any of them alike, so the choice among them is correct as often as they are.
        subsets = comb(below + len(equal), size) - comb(below, size)
        won += subsets * sum(equal) / len(equal)
        below += len(equal)
    return won / comb(len(scores), size)


def oracle(labels: Sequence[float], size: int) -> float:
    """Probability that one of `size` candidates is correct: the best that any choice can do.

    >>> oracle([1, 0, 0, 0], 2)
    0.5
    """
    size = min(size, len(labels))
    wrong = sum(not label for label in labels)
    return 1 - comb(wrong, size) / comb(len(labels), size)


def majority(answers: Sequence[Hashable | None], labels: Sequence[float], size: int) -> float:
    """Expected correctness of the answer that most of `size` candidates give (self-consistency).

    Answers that are given equally often share the choice equally. A candidate without an answer
    (None) has no vote; where nobody votes, the answer is wrong. Candidates of one answer that are
    labelled differently count by their mean.

    >>> majority(["4", "4", "5"], [1, 1, 0], 3), majority(["4", "4", "5"], [1, 1, 0], 1)
    (1.0, 0.6666666666666666)
    """
    size = min(size, len(answers))
    correct: dict[Hashable, list[float]] = {}
    for answer, label in zip(answers, labels, strict=True):
        if answer is not None:
            correct.setdefault(answer, []).append(label)
    counts = tuple(sorted(len(given) for given in correct.values()))
    silent = len(answers) - sum(counts)
    return math.fsum(
        sum(given) / len(given) * _wins(len(given), counts, silent, size)
        for given in correct.values()
    )


@lru_cache(maxsize=100_000)  # few ways to be split among answers, many questions
def _wins(count: int, counts: tuple[int, ...], silent: int, size: int) -> float:
    """Probability that one answer is the majority's, its share where several are.

    Args:
        count: how many candidates give it.
        counts: how many give each answer, this one included.
        silent: how many give none.
        size: N.
    """
    others = Counter(counts)
    others[count] -= 1
    won = 0.0
    for votes in range(1, min(count, size) + 1):
        # ways[used, tied]: the choices of `used` candidates that are not of this answer, so that no
        # other answer has more than `votes` and `tied` of them have as many.
        ways = {(used, 0): comb(silent, used) for used in range(min(silent, size - votes) + 1)}
        for other in others.elements():
            grown: defaultdict[tuple[int, int], int] = defaultdict(int)
            for (used, tied), number in ways.items():
                for more in range(min(other, votes, size - votes - used) + 1):
                    grown[used + more, tied + (more == votes)] += number * comb(other, more)
            ways = grown
        share = sum(n / (tied + 1) for (used, tied), n in ways.items() if used == size - votes)
        won += comb(count, votes) * share
    return won / comb(sum(counts) + silent, size)
