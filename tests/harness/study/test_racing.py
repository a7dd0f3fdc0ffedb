"""Which points of a race have lost, on values made up here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.study import racing


def draws(generator: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """The same values of all points in another order of the units."""
    return values[:, generator.permutation(values.shape[1])]


def rows_of(right: list[int], count: int) -> np.ndarray:
    """Points of which each is right on so many of the units, the same ones first."""
    return np.array([[1.0] * one + [0.0] * (count - one) for one in right])


def test_a_bet_is_fair_where_the_means_are_equal() -> None:
    """Over all orders of the units its capital has a mean of at most 1 at every unit."""
    differences = np.array([1.0, -1.0, 1.0, -1.0, 0.0, 0.5, -0.5])
    generator = np.random.default_rng(0)
    capital = np.mean(
        [
            np.exp(racing.log_capital(generator.permutation(differences), 7, 1.0))
            for _ in range(4000)
        ],
        axis=0,
    )
    assert (capital < 1.06).all()
    assert capital[0] == pytest.approx(1, abs=0.03)


def test_the_best_is_seldom_lost_however_often_it_is_looked_at() -> None:
    """Three points within a row of each other, looked at after every unit: at most alpha."""
    generator = np.random.default_rng(1)
    pool = np.stack(
        [generator.permutation([1.0] * right + [0.0] * (60 - right)) for right in (31, 30, 30)]
    )
    alpha, races = 0.2, 300
    wrong = sum(
        bool(racing.lost(list(draws(generator, pool)), [0], 60, 1.0, alpha)) for _ in range(races)
    )
    assert wrong / races <= alpha


def test_a_clear_loser_is_lost_early_and_the_best_is_not() -> None:
    values = draws(np.random.default_rng(2), rows_of([150, 60, 148], 200))
    seen = list(values[:, :60])
    assert racing.lost(seen, range(3), 200, 1.0) == [1]


def test_what_cannot_catch_up_is_lost_for_certain() -> None:
    """Behind by 6 with 5 units to come."""
    ahead, behind = np.ones(7), np.array([1.0, 0, 0, 0, 0, 0, 0])
    assert racing.log_capital(behind - ahead, 12, 1.0)[-1] == math.inf
    assert racing.lost([ahead, behind], [0, 1], 12, 1.0, alpha=1e-12) == [1]
    level = np.zeros(12)
    assert np.isfinite(racing.log_capital(level, 12, 1.0)).all()


def test_against_a_dropped_point_the_bet_stays_where_it_was() -> None:
    generator = np.random.default_rng(3)
    values = list(draws(generator, rows_of([90, 50, 80], 120)))
    short = [values[0], values[1][:30], values[2]]
    own = racing.evidence(short, 2, 120, 1.0)
    assert own >= racing.evidence([one[:30] for one in values], 2, 120, 1.0)
    assert racing.evidence([values[0][:0], values[1][:0]], 0, 120, 1.0) == 0


def test_halving_leaves_the_better_half_and_whoever_is_to_stay() -> None:
    scores = [0.0, 5.0, 3.0, 4.0, -math.inf, 3.0, 1.0, 2.0]
    assert racing.halved(scores, 1, keep=[0]) == []
    assert racing.halved(scores, 2, keep=[0]) == [5, 6, 7]  # 4 of 8 stay; of equals the first
    assert racing.halved(scores, 4, keep=[0]) == [2, 3, 5, 6, 7]
