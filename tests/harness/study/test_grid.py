"""The points of a sweep: every way to write them, and every way to get them wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.study.grid import MOST, Axis, ends, parse, parse_ratio
from harness.study.grid import points as points_of
from harness.study.recipe import Point
from tests.harness.study.recipes import recipe_of

ONE, TWO, THREE = ["a"], ["a", "b"], ["a", "b", "c"]


def points(texts: list[str], models: list[str], ratio: list[Decimal] | None = None) -> list[Point]:
    recipe = recipe_of(*models)
    return points_of(recipe, [Axis(recipe.strength, texts, "--weight ")], ratio)


def labels(texts: list[str], models: list[str], path: str | None = None) -> list[str]:
    ratio = parse_ratio(path, models) if path else None
    return [point.label for point in points(texts, models, ratio)]


def test_a_range_has_decimal_numbers_and_its_end() -> None:
    """As text and as floats they are what a user would type."""
    found = points(["0:1:0.05"], ONE)
    assert len(found) == 21
    assert found[7].label == "0.35"
    assert [point.values["weight"] for point in found] == [[round(n * 0.05, 2)] for n in range(21)]


def test_a_number_has_one_label_however_it_is_written() -> None:
    assert labels(["0.1,0.10,1e-1,.1"], ONE) == labels(["0.1"], ONE) == ["0", "0.1"]
    assert labels(["1.0,-0,0.50"], ONE) == ["0", "0.5", "1"]


def test_zero_is_always_tried_and_first() -> None:
    assert labels(["0.7,0.2"], ONE) == ["0", "0.2", "0.7"]
    assert labels(["0.2"], TWO) == ["0,0", "0.2,0.2"]


def test_a_grid_leaves_the_reward_model_a_share() -> None:
    """Σλ is at most 1; points come in order of Σλ."""
    assert labels(["0,0.5,1"], TWO) == ["0,0", "0,0.5", "0.5,0", "0,1", "0.5,0.5", "1,0"]
    assert labels(["0.2,0.4", "0.3"], TWO) == ["0,0", "0.2,0.3", "0.4,0.3"]


@given(
    st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any),
    st.integers(1, 1000).map(lambda n: Decimal(n) / 1000),
)
def test_a_path_divides_each_total_exactly(ratio: list[int], total: Decimal) -> None:
    """No digit is lost: the shares sum to the total, and each is near its part."""
    zero, point = points([str(total)], THREE, [Decimal(part) for part in ratio])
    assert zero.at_rest and not zero.distance
    assert point.distance == float(total)
    shares = [Decimal(str(share)) for share in point.values["weight"]]
    assert sum(shares) == total
    for part, share in zip(ratio, shares, strict=True):
        assert abs(share - total * part / sum(ratio)) < Decimal("1e-8")
        assert bool(part) == bool(share)


def test_a_path_of_two_models() -> None:
    assert labels(["0:0.9:0.3"], TWO, "2,1") == ["0,0", "0.2,0.1", "0.4,0.2", "0.6,0.3"]


@pytest.mark.parametrize(
    ("text", "models", "path", "expected"),
    [
        ("0:1:0.25", ONE, None, ["0", "1"]),
        ("0.3", ONE, None, ["0", "0.3"]),
        ("0:1:0.25", TWO, None, ["0,0", "1,0", "0,1"]),
        ("0:0.8:0.4", TWO, "1,1", ["0,0", "0.4,0.4"]),
        ("0:0.8:0.4", TWO, "0,1", ["0,0", "0,0.8"]),
    ],
)
def test_the_ends_are_the_reward_model_and_each_domain_model_alone(
    text: str, models: list[str], path: str | None, expected: list[str]
) -> None:
    ratio = parse_ratio(path, models) if path else None
    assert [point.label for point in ends(points([text], models, ratio))] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a number"),
        ("0.1,,0.2", "'' is not a number"),
        ("half", "'half' is not a number"),
        ("nan", "'nan' is not a number"),
        ("inf", "'inf' is not a number"),
        ("0:1", "expected START:STOP:STEP, as in 0:1:0.05"),
        ("0:1:0.1:0.2", "expected START:STOP:STEP"),
        ("0:1:0", "expected START <= STOP and STEP > 0"),
        ("0:1:-0.1", "expected START <= STOP and STEP > 0"),
        ("1:0:0.1", "expected START <= STOP and STEP > 0"),
        ("0:1:0.3", "steps of 0.3 from 0 end at 0.9, not at 1"),
        ("0:1:0.00001", "100,001 values; did you mean a larger step?"),
        ("0.3,1.2", "1.2 is not in 0..1: it is λ"),
        ("-0.1", "-0.1 is not in 0..1"),
        ("1e-99999999", "is out of range"),
        ("0:1:1e-9999", "is out of range"),
        ("0.1234567", "has more than 6 decimals"),
    ],
)
def test_a_mistake_is_told_with_what_was_typed(text: str, message: str) -> None:
    with pytest.raises(HarnessError) as error:
        parse(text)
        points([text], ONE)  # its bounds are the method's
    assert str(error.value).startswith(f"--weight {text}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("texts", "models", "path", "message"),
    [
        (["0"], ONE, None, "nothing to try but 0"),
        (["0.6,0.7"], TWO, None, "weights that sum to more than 1 are left out"),
        (["0.1", "0.2"], ONE, None, "is given 2 times, and the recipe has 1 domain models (a)"),
        (["0.1", "0.2"], THREE, None, "give it once, or once for each in this order"),
        (["0.1", "0.2"], TWO, "1,1", "--path takes one --weight"),
        (["0:1:0.001"], TWO, None, f"a grid of more than {MOST:,} points"),
        (["0.1"], TWO, "1", "--path 1: expected 2 numbers, one for each domain model (a, b)"),
        (["0.1"], TWO, "1,-1", "such as 1,1"),
        (["0.1"], TWO, "0,0", "such as 1,1"),
        (["0.1"], TWO, "1,x", "--path 1,x: 'x' is not a number"),
    ],
)
def test_what_does_not_fit_the_recipe_is_refused(
    texts: list[str], models: list[str], path: str | None, message: str
) -> None:
    with pytest.raises(HarnessError) as error:
        labels(texts, models, path)
    assert message in str(error.value)
