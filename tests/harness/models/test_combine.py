"""The rules by which several rewards become one, worked by hand."""

from __future__ import annotations

import pytest

from harness.models.combine import combine

# Three responses by three members.
REWARDS = [[1.0, 10.0, 4.0], [2.0, -2.0, 0.0], [3.0, 3.0, 3.0]]


@pytest.mark.parametrize(
    ("rule", "k", "expected"),
    [
        ("mean", 1.0, [5.0, 0.0, 3.0]),
        ("min", 1.0, [1.0, -2.0, 3.0]),
        # Population standard deviations: √((16+25+1)/3) = √14, √(8/3), 0.
        ("mean-std", 1.0, [5 - 14**0.5, -((8 / 3) ** 0.5), 3.0]),
        ("mean-std", 0.5, [5 - 14**0.5 / 2, -((8 / 3) ** 0.5) / 2, 3.0]),
        ("mean-std", 0.0, [5.0, 0.0, 3.0]),
        # Ranks by member: 1 2 3, 3 1 2, 3 1 2.
        ("rank-mean", 1.0, [7 / 3, 4 / 3, 7 / 3]),
    ],
)
def test_each_rule(rule: str, k: float, expected: list[float]) -> None:
    assert combine(rule, REWARDS, k) == pytest.approx(expected)


def ranks(rewards: list[float]) -> list[float]:
    """Those of one member."""
    return combine("rank-mean", [[reward] for reward in rewards])


def test_ranks_are_averaged_over_ties() -> None:
    assert ranks([7.0, 7.0, 7.0]) == [2.0, 2.0, 2.0]
    assert ranks([5.0, 1.0, 5.0, 9.0, 1.0]) == [3.5, 1.5, 3.5, 5.0, 1.5]
    assert ranks([]) == []


def test_ranks_do_not_depend_on_a_members_scale() -> None:
    scaled = [[a, 1000 * b + 7, c / 1000] for a, b, c in REWARDS]
    assert combine("rank-mean", scaled) == combine("rank-mean", REWARDS)
