"""The counted means against hand-worked cases, and against every subset one by one."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import pytest

from harness.tasks.bon.expected import best_of_n, majority, oracle

NAN = math.nan


@pytest.mark.parametrize(
    ("scores", "labels", "size", "expected"),
    [
        ([4, 3, 2, 1], [1, 0, 0, 0], 1, 1 / 4),
        ([4, 3, 2, 1], [1, 0, 0, 0], 2, 3 / 6),  # the pairs with the first
        ([4, 3, 2, 1], [0, 1, 0, 0], 2, 2 / 6),  # with the second, without the first
        ([4, 3, 2, 1], [0, 0, 0, 1], 2, 0),
        ([4, 3, 2, 1], [0, 0, 0, 1], 4, 0),
        ([4, 4, 1], [1, 0, 1], 2, (0.5 + 1 + 0) / 3),  # {4,4}, {4 right,1}, {4 wrong,1}
        ([5, 5, 5], [1, 0, 0], 2, 1 / 3),
        ([NAN, 1], [1, 0], 2, 0),
        ([NAN, 1], [1, 0], 1, 0),  # alone, it is not chosen either
        ([NAN, 1, 2], [1, 1, 0], 2, (1 + 0 + 0) / 3),
        ([-math.inf, math.inf], [1, 0], 1, 1 / 2),
        ([2, 1], [1, 0], 8, 1),  # no more than two to choose from
    ],
)
def test_the_choice_by_hand(
    scores: list[float], labels: list[int], size: int, expected: float
) -> None:
    assert best_of_n(scores, labels, size) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "size", "expected"),
    [([1, 0, 0, 0], 2, 1 / 2), ([0, 0], 1, 0), ([1, 1, 0], 2, 1), ([1, 0, 0], 9, 1)],
)
def test_the_oracle_by_hand(labels: list[int], size: int, expected: float) -> None:
    assert oracle(labels, size) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("answers", "labels", "size", "expected"),
    [
        (["7", "7", "8"], [1, 1, 0], 3, 1),
        (["7", "7", "8"], [1, 1, 0], 2, (1 + 0.5 + 0.5) / 3),
        (["7", "8", "9"], [1, 0, 0], 3, 1 / 3),
        (["7", None, None], [1, 0, 0], 3, 1),  # the silent have no vote
        (["7", None, None], [1, 0, 0], 2, 2 / 3),  # and where nobody votes, it is wrong
        ([None, None], [1, 1], 2, 0),
        (["7", "7", "8"], [1, 0, 0], 3, 1 / 2),  # one answer, two labels: their mean
        (["8", "8", "7", "7"], [0, 0, 1, 1], 3, 1 / 2),
        ([7, 7.0, "7"], [1, 1, 0], 3, 1),  # equal as numbers; a text is another answer
    ],
)
def test_the_majority_by_hand(
    answers: list[Any], labels: list[int], size: int, expected: float
) -> None:
    assert majority(answers, labels, size) == pytest.approx(expected, abs=1e-12)


def over_subsets(worth: Callable[[Sequence[int]], float], count: int, size: int) -> float:
    return fmean(worth(chosen) for chosen in combinations(range(count), size))


@pytest.mark.parametrize("seed", range(40))
def test_counting_equals_going_through_every_subset(seed: int) -> None:
    draw = random.Random(seed)
    count = draw.randint(1, 9)
    labels = [draw.randint(0, 1) for _ in range(count)]
    scores = [draw.choice([0.0, 1.0, 2.0, 3.5, NAN]) for _ in range(count)]
    answers = [draw.choice(["a", "b", "c", "d", None]) for _ in range(count)]

    def chosen(subset: Sequence[int]) -> float:
        known = [i for i in subset if not math.isnan(scores[i])]
        top = [i for i in known if scores[i] == max(scores[j] for j in known)]
        return fmean(labels[i] for i in top) if top else 0.0

    def voted(subset: Sequence[int]) -> float:
        votes = Counter(answers[i] for i in subset if answers[i] is not None)
        top = [answer for answer, number in votes.items() if number == max(votes.values())]
        means = [fmean(labels[i] for i in subset if answers[i] == answer) for answer in top]
        return fmean(means) if means else 0.0

    for size in range(1, count + 1):
        best = over_subsets(lambda s: float(any(labels[i] for i in s)), count, size)
        assert oracle(labels, size) == pytest.approx(best, abs=1e-12)
        picked = over_subsets(chosen, count, size)
        assert best_of_n(scores, labels, size) == pytest.approx(picked, abs=1e-12)
        vote = over_subsets(voted, count, size)
        assert majority(answers, labels, size) == pytest.approx(vote, abs=1e-12)


def test_sixteen_candidates_are_still_counted_exactly() -> None:
    """8 of 16: 12,870 subsets; a clear majority of all may lose in a part."""
    answers = ["a"] * 6 + ["b"] * 5 + ["c"] * 3 + [None] * 2
    labels = [1] * 6 + [0] * 10

    def voted(subset: Sequence[int]) -> float:
        votes = Counter(answers[i] for i in subset if answers[i] is not None)
        top = [answer for answer, number in votes.items() if number == max(votes.values())]
        return float("a" in top) / len(top)

    expected = over_subsets(voted, 16, 8)
    assert 0.5 < expected < 0.9
    assert majority(answers, labels, 8) == pytest.approx(expected, abs=1e-12)
    assert majority(answers, labels, 16) == 1


def test_labels_and_scores_must_be_one_each() -> None:
    with pytest.raises(ValueError, match="argument"):
        best_of_n([1.0], [1, 0], 1)
    with pytest.raises(ValueError, match="argument"):
        majority(["a"], [1, 0], 1)
