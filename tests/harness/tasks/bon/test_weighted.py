"""The reward-weighted vote against hand-worked cases, every subset one by one, and its two ends."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import pytest

from harness.tasks.bon.expected import best_of_n, majority
from harness.tasks.bon.weighted import DRAWN, EXACT, weighted_best_of_n

NAN = math.nan
LN2, LN3 = math.log(2), math.log(3)


@pytest.mark.parametrize(
    ("scores", "answers", "labels", "size", "expected"),
    [
        ([0, 0, LN3], ["7", "7", "8"], [1, 1, 0], 3, 0),  # 1 + 1 < 3
        ([0, 0, LN2 - 0.01], ["7", "7", "8"], [1, 1, 0], 3, 1),
        ([0, 0, LN2], ["7", "7", "8"], [1, 1, 0], 3, 1 / 2),  # equal sums share
        ([0, 0, LN3], ["7", "7", "8"], [1, 1, 0], 2, (1 + 0 + 0) / 3),
        ([0, 0, LN3], ["7", "7", None], [1, 1, 1], 3, 1),  # the silent have no vote
        ([0, 9, LN3], ["7", None, "8"], [1, 1, 0], 2, (1 + 0 + 0) / 3),
        ([NAN, 0, -1], ["7", "7", "8"], [0, 0, 1], 1, 1 / 3),  # NaN has none either
        ([NAN, NAN], ["7", "8"], [1, 1], 2, 0),
        ([3, 3], [None, None], [1, 1], 2, 0),
        ([1, 1, 0], ["7", "7", "8"], [1, 0, 0], 3, 1 / 2),  # one answer, two labels: their mean
        ([-3000, -1000, -1000.5], ["7", "8", "8"], [1, 0, 0], 1, 1 / 3),  # alone it is chosen
        ([-3000, -3000, -1000], ["7", "7", "8"], [1, 1, 0], 2, 1 / 3),
        ([math.inf, 3, -math.inf], ["7", "8", "9"], [1, 0, 1], 2, (1 + 1 + 0) / 3),
    ],
)
def test_by_hand(
    scores: list[float], answers: list[Any], labels: list[int], size: int, expected: float
) -> None:
    found = weighted_best_of_n(scores, answers, labels, size)
    assert found == pytest.approx(expected, abs=1e-12)


def chosen(scores: Sequence[float], answers: Sequence[Any], right: str) -> float:
    """Whether the right answer has the largest sum in one set of candidates."""
    sums: defaultdict[Any, float] = defaultdict(float)
    for score, answer in zip(scores, answers, strict=True):
        if answer is not None and not math.isnan(score):
            sums[answer] += math.exp(score)
    first = [one for one in sums if math.isclose(sums[one], max(sums.values()))]
    return (right in first) / len(first) if first else 0.0


@pytest.mark.parametrize("seed", range(30))
def test_every_subset_and_both_ends(seed: int) -> None:
    """Equal rewards are the majority vote; where no answer is given twice, it is best-of-N."""
    draw = random.Random(seed)
    count = draw.randint(1, 9)
    answers = [draw.choice(["a", "b", "c", None]) for _ in range(count)]
    labels = [int(answer == "a") for answer in answers]
    scores = [draw.choice([-1.5, 0.0, 0.25, 2.0, NAN]) for _ in range(count)]
    for size in range(1, count + 1):
        every = [
            chosen([scores[i] for i in some], [answers[i] for i in some], "a")
            for some in combinations(range(count), size)
        ]
        found = weighted_best_of_n(scores, answers, labels, size)
        assert found == pytest.approx(fmean(every), abs=1e-12)
        equal = weighted_best_of_n([0.7] * count, answers, labels, size)
        assert equal == pytest.approx(majority(answers, labels, size), abs=1e-12)
        single = weighted_best_of_n(scores, range(count), labels, size)
        assert single == pytest.approx(best_of_n(scores, labels, size), abs=1e-12)


def test_more_subsets_than_can_be_gone_through() -> None:
    """A part of them is drawn, the same each time: 10 of 20 candidates by equal rewards."""
    assert math.comb(20, 10) > EXACT
    answers = ["a"] * 7 + ["b"] * 6 + ["c"] * 7
    labels = [1] * 7 + [0] * 13
    found = weighted_best_of_n([1.0] * 20, answers, labels, 10)
    exact = majority(answers, labels, 10)
    assert 0.2 < exact < 0.6
    assert found == pytest.approx(exact, abs=4 * 0.5 / DRAWN**0.5)
    assert found == weighted_best_of_n([1.0] * 20, answers, labels, 10)


def test_one_of_each_a_candidate() -> None:
    with pytest.raises(ValueError, match="argument"):
        weighted_best_of_n([1.0], ["a", "b"], [1, 0], 1)
