"""What may be tried: every draw is a merge, and a grid is all of it."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.study import span as grid
from harness.study.space import Space
from tests.harness.study.recipes import span

GROUPS = {"attention": ["a"], "mlp": ["b", "c"]}


def models(count: int) -> tuple[str, ...]:
    return tuple(f"org/model-{n}" for n in range(count))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    low, high = sorted(draw(st.sets(st.integers(0, 10_000), min_size=2, max_size=2)))
    return Space(
        models(draw(st.integers(1, 4))),
        (span(Decimal(low) / 10_000, Decimal(high) / 10_000),),
        draw(st.sampled_from([None, GROUPS])),
    )


def of_groups(space: Space, lambdas: dict[str, float]) -> list[list[float]]:
    values = [lambdas[name] for name in space.names]
    size = len(space.models)
    return [values[start : start + size] for start in range(0, len(values), size)]


@given(spaces(), st.data())
def test_every_draw_leaves_the_reward_model_its_share(space: Space, data: st.DataObject) -> None:
    """In every group each λ is a share, and Σλ lies within the bounds, to the last decimal."""
    drawn = {name: data.draw(st.floats(*ends)) for name, ends in space.drawn().items()}
    lambdas = space.params(drawn)
    assert list(lambdas) == space.names
    groups = of_groups(space, lambdas)
    assert len(groups) == (1 if space.groups is None else len(GROUPS))
    for group in groups:
        exact = [Decimal(str(value)) for value in group]
        assert all(0 <= value <= 1 and value == round(value, 4) for value in exact)
        lost = Decimal(len(group)) / 10_000  # each is rounded down
        (bounds,) = space.spans
        assert bounds.low - lost < sum(exact) <= bounds.high <= 1


def test_one_model_s_draw_is_its_weight() -> None:
    space = Space(models(1), (span("0.1", "0.6"),), GROUPS)
    assert space.drawn() == {"attention": (0.1, 0.6), "mlp": (0.1, 0.6)}
    assert space.params({"attention": 0.29, "mlp": 0.6}) == {"attention": 0.29, "mlp": 0.6}
    assert Space(models(1), (span(),)).params({"weight": 0.35}) == {"weight": 0.35}


@pytest.mark.parametrize("count", [2, 3, 4])
def test_uniform_draws_are_uniform_over_all_ways_to_share(count: int) -> None:
    """No model is favoured: each share of a uniform point is Beta(1, k − 1).

    So P(s > 1/2) = 2^(1 − k).
    """
    space, generator = Space(models(count), (span(),)), random.Random(0)
    names = [name for name in space.drawn() if name != "total"]
    shares = []
    for _ in range(4000):
        drawn = {"total": 1.0, **{name: generator.random() for name in names}}
        shares.append(list(space.params(drawn).values()))
    for column in zip(*shares, strict=True):
        assert sum(column) / len(column) == pytest.approx(1 / count, abs=0.02)
        above = sum(value > 0.5 for value in column) / len(column)
        assert above == pytest.approx(0.5 ** (count - 1), abs=0.03)


@given(
    st.integers(1, 3),
    st.integers(0, 6),
    st.integers(1, 6),
    st.sampled_from(["0.05", "0.1", "0.125"]),
)
def test_a_grid_is_every_way_within_the_bounds(n: int, first: int, more: int, text: str) -> None:
    step = Decimal(text)
    low, high = first * step, (first + more) * step
    axis = [step * index for index in range(first + more + 1)]
    wanted = {way for way in itertools.product(axis, repeat=n) if low <= sum(way) <= high}
    found = grid.ways_to_share(n, low, high, step)
    assert set(found) == wanted and len(found) == len(wanted) == grid.count_ways(n, low, high, step)


def test_a_grid_s_points_begin_with_the_smallest_weights() -> None:
    """So that of equal scores that with the most of the reward model is found first."""
    space = Space(models(2), (span(),), GROUPS, step=Decimal("0.5"))
    points = space.points()
    sums = [sum(point.values()) for point in points]
    assert len(points) == 6 * 6 == len({tuple(point.values()) for point in points})
    assert sums == sorted(sums) and sums[0] == 0
    assert all(sum(group) <= 1 for point in points for group in of_groups(space, point))
    assert [space.params(point) for point in points] == points


def test_weights_are_what_mergekit_takes() -> None:
    """A number where all groups agree, else conditions that give each tensor its group's λ."""
    groups = {"attention": ["m.0.attn.w", "m.1.attn.w"], "mlp": ["m.0.mlp.w"]}
    space = Space(models(2), (span(),), groups)
    params = dict(zip(space.names, [0.2, 0.3, 0.2, 0.1], strict=True))
    first, second = space.values(params)["weight"]
    assert first == 0.2
    assert weight_of(second, "m.1.attn.w") == 0.3 and weight_of(second, "m.0.mlp.w") == 0.1
    assert Space(models(1), (span(),)).values({"weight": 0.4}) == {"weight": [0.4]}


def weight_of(conditions: list[dict[str, Any]], tensor: str) -> float:
    """As mergekit reads them: the first whose filter is in the name."""
    return next(c["value"] for c in conditions if c.get("filter", "") in tensor)


def test_models_of_one_name_are_told_apart() -> None:
    names = Space(("one/maths", "two/maths/", "code"), (span(),)).names
    assert names == ["maths 1", "maths 2", "code"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"low": Decimal("0.6"), "high": Decimal("0.2")}, "0 <= LOW < HIGH <= 1"),
        ({"high": Decimal("1.2")}, "--high 1.2: expected 0 <= LOW < HIGH <= 1"),
        ({"low": Decimal("0.00001")}, "--low 0.00001: expected at most 4 decimals"),
        ({"step": Decimal(0)}, "--step 0: expected a number above 0"),
        ({"step": Decimal("0.3")}, "steps from 0 miss --high 1"),
        (
            {"step": Decimal("0.1"), "groups": {name: [name] for name in "abcdefg"}},
            "19,487,171 points",
        ),
        ({"step": Decimal("0.0001"), "models": models(5)}, "fewer --groups, or another --sampler"),
    ],
)
def test_bounds_and_grids_that_make_no_sense_are_refused(options: Any, said: str) -> None:
    with pytest.raises(HarnessError, match=None) as refused:
        bounds = {name: options.pop(name) for name in ("low", "high") if name in options}
        Space(**{"models": models(1), "spans": (span(**bounds),), **options})
    assert said in str(refused.value)
