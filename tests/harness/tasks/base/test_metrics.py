"""Scores by hand."""

from __future__ import annotations

import doctest
import math

import pytest

from harness.tasks.base import metrics

NAN = float("nan")


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(metrics).failed == 0


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ([1.0], [0.0], 1.0),
        ([0.0], [1.0], 0.0),
        ([1.0], [1.0], 0.0),  # a tie is wrong
        ([NAN], [0.0], 0.0),  # NaN is never right
        ([1.0], [NAN], 0.0),
        ([math.inf], [math.inf], 0.0),
        ([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 3.5], 0.5),
    ],
)
def test_accuracy_is_strict(chosen: list[float], rejected: list[float], expected: float) -> None:
    assert metrics.accuracy(chosen, rejected) == expected


def test_ties_and_margin() -> None:
    assert metrics.ties([1.0, 2.0, NAN], [1.0, 3.0, NAN]) == pytest.approx(1 / 3)
    assert metrics.margin([1.0, 2.0], [0.5, 3.0]) == -0.25
    assert math.isnan(metrics.margin([NAN], [0.0]))


def test_a_weighted_mean_and_its_error() -> None:
    assert metrics.weighted_mean([0.3, 0.6], [984, 984]) == pytest.approx(0.45)
    # Equal sizes and weights: the error of all rows pooled.
    assert metrics.weighted_standard_error([0.2, 0.2], [5, 5]) == pytest.approx(0.2 / math.sqrt(2))
    assert metrics.weighted_standard_error([0.2, 0.4], [3, 1]) == pytest.approx(
        math.sqrt(0.6**2 + 0.4**2) / 4
    )


@pytest.mark.parametrize(("values", "weights"), [([], []), ([1.0], [1, 2]), ([1.0], [0])])
def test_nothing_to_average_is_an_error(values: list[float], weights: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot average"):
        metrics.weighted_mean(values, weights)


def test_no_pairs_are_an_error() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        metrics.accuracy([], [])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        metrics.accuracy([1.0], [])
