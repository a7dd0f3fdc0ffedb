"""Statistics held against values that are known from elsewhere, and against what they promise."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.compare import resampling, statistics
from harness.compare.resampling import Drawn
from harness.compare.statistics import MCNEMAR, SIGN_FLIP, compare, holm, mcnemar


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        # 2 · (C(10,0) + C(10,1)) / 2^10
        (1, 9, 22 / 1024),
        (9, 1, 0.021484375),
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 6, 2 / 64),
        # The example of Fagerland et al. (2013): 7 and 1 of 21 children changed, p = .0703.
        (7, 1, 0.0703125),
    ],
)
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-12)


def test_holm_on_a_worked_example() -> None:
    """.01 · 4, .013 · 3, .014 · 2 and .19 · 1, then never smaller than the one before."""
    assert holm([0.19, 0.014, 0.01, 0.013]) == pytest.approx([0.19, 0.04, 0.04, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps: list[float], alpha: float) -> None:
    """The procedure as Holm writes it: step up the sorted list, stop at the first that fails."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    passed = itertools.takewhile(lambda k: (len(ps) - k) * ps[order[k]] < alpha, range(len(ps)))
    rejected = {order[k] for k in passed}
    adjusted = holm(ps)
    assert {i for i, p in enumerate(adjusted) if p < alpha} == rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


def test_a_section_by_hand() -> None:
    """Two strata of 4 and 2 items that count 3 to 1: .75 · (3/4 − 2/4) + .25 · (0 − 1/2)."""
    strata = {"x": ([1, 1, 0, 0], [1, 1, 1, 0]), "y": ([1, 0], [0, 0])}
    found = compare(strata, {"x": 0.75, "y": 0.25})
    assert (found.a, found.b) == pytest.approx((0.5, 0.5625))
    assert found.difference == pytest.approx(0.0625)
    assert (found.items, found.risen, found.fallen) == (6, 1, 1)
    # An item of x weighs .75 / 4, one of y .25 / 2, so McNemar's test does not hold. The flips give
    # ±.1875 ± .125, of which all four are at least as far from 0 as .0625.
    assert found.test == SIGN_FLIP and found.p == 1.0


def test_equal_weights_of_items_are_a_pooled_mcnemar() -> None:
    strata = {"x": ([0] * 6, [1] * 6), "y": ([1, 0, 0], [0, 1, 1])}
    found = compare(strata, {"x": 6 / 9, "y": 3 / 9})
    assert found.test == MCNEMAR and found.p == mcnemar(8, 1)
    assert found == compare(strata)


def test_the_sign_flip_test_agrees_with_mcnemar_and_with_all_flips_counted() -> None:
    a, b = np.zeros(40), np.zeros(40)
    b[:12], a[12:15] = 1, 1
    null = resampling.sign_flipped_means(Drawn.of(b - a), 200_000, np.random.default_rng(0))
    assert resampling.monte_carlo_p(9 / 40, null) == pytest.approx(mcnemar(12, 3), abs=0.003)
    fractions = np.array([0.5, 0.25, 1.0, -0.25, 0.75])
    flips = [np.dot(s, fractions) for s in itertools.product([-1, 1], repeat=5)]
    exact = np.mean(np.abs(flips) >= fractions.sum() - 1e-9)
    found = compare({"x": (np.zeros(5), fractions)}, resamples=100_000)
    assert found.test == SIGN_FLIP and found.p == pytest.approx(exact, abs=0.006)


def test_the_interval_of_a_mean_is_what_theory_says() -> None:
    """A difference with standard error s: about ± 1.96 s at 95 %, ± 1.645 s at 90 %."""
    values = np.random.default_rng(1).normal(0.3, 1.0, 2000)
    error = values.std() / np.sqrt(len(values))
    for confidence, z in ((0.95, 1.96), (0.9, 1.645)):
        found = compare({"x": (np.zeros(2000), values)}, confidence=confidence)
        assert found.low == pytest.approx(values.mean() - z * error, abs=0.1 * error)
        assert found.high == pytest.approx(values.mean() + z * error, abs=0.1 * error)


def test_strata_vary_apart_with_their_weights() -> None:
    """The variance of Σ w·mean is Σ w²·variance/n: not that of all items thrown together."""
    generator = np.random.default_rng(2)
    x, y = generator.normal(0, 1, 400), generator.normal(5, 3, 100)
    found = compare({"x": (0 * x, x), "y": (0 * y, y)}, {"x": 0.5, "y": 0.5})
    error = 0.5 * np.sqrt(x.var() / 400 + y.var() / 100)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """300 samples of 80 right/wrong pairs whose true difference is .1: 95 % ± 4 % cover it."""
    generator = np.random.default_rng(3)
    covered = 0
    for seed in range(300):
        draw = generator.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=80)
        found = compare({"x": (np.zeros(80), draw)}, resamples=500, seed=seed)
        covered += found.low <= 0.1 <= found.high
    assert 0.91 <= covered / 300 <= 0.99


def test_no_difference_is_found_as_seldom_as_it_says() -> None:
    """Under the null hypothesis p < .05 in at most 5 % of the samples, and a bit for chance."""
    generator = np.random.default_rng(4)
    weights = {"x": 0.8, "y": 0.2}
    small = 0
    for seed in range(200):
        draws = {n: generator.choice([0.0, 1.0], size=(2, k)) for n, k in (("x", 10), ("y", 50))}
        strata = {name: (a, b) for name, (a, b) in draws.items()}
        small += compare(strata, weights, resamples=400, seed=seed).p < 0.05
    assert small / 200 <= 0.085


def test_saying_everything_twice_proves_nothing_more() -> None:
    """Each item twice under one prompt: interval and p are those of the items once."""
    generator = np.random.default_rng(5)
    a, b = generator.choice([0.0, 1.0], size=(2, 60), p=[0.4, 0.6])
    twice = np.repeat(a, 2), np.repeat(b, 2)
    names = [str(n) for n in range(60)]
    once = compare({"x": (a, b)}, prompts={"x": names})
    found = compare({"x": twice}, prompts={"x": [name for name in names for _ in "12"]})
    assert (found.items, found.prompts, once.prompts) == (120, 60, 60)
    assert (found.difference, found.low, found.high) == pytest.approx(
        (once.difference, once.low, once.high)
    )
    assert (once.test, found.test) == ("mcnemar", "sign-flip")
    assert found.p == pytest.approx(once.p, abs=0.02)
    careless = compare({"x": twice})
    assert careless.high - careless.low < 0.8 * (found.high - found.low)
    assert careless.p < found.p


def test_the_interval_covers_the_truth_where_prompts_are_shared() -> None:
    """300 samples of 1 to 7 alike items to a prompt: 95 % ± 4 % cover it, and few without."""
    generator = np.random.default_rng(6)
    covered = without = 0
    for seed in range(300):
        sizes = generator.integers(1, 8, size=60)
        of_prompt = generator.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=60)
        values, names = np.repeat(of_prompt, sizes), np.repeat(np.arange(60), sizes).astype(str)
        strata = {"x": (np.zeros(len(values)), values)}
        one = compare(strata, prompts={"x": names.tolist()}, resamples=500, seed=seed)
        other = compare(strata, resamples=500, seed=seed)
        covered += one.low <= 0.1 <= one.high
        without += other.low <= 0.1 <= other.high
    assert 0.91 <= covered / 300 <= 0.99
    assert without / 300 < 0.8


def test_saying_everything_in_two_strata_proves_nothing_more() -> None:
    """The same prompts with the same values in both (JudgeBench's two writers): once is enough."""
    generator = np.random.default_rng(5)
    a, b = generator.choice([0.0, 1.0], size=(2, 60), p=[0.4, 0.6])
    names = [str(n) for n in range(60)]
    once = compare({"x": (a, b)}, prompts={"x": names})
    order = generator.permutation(60)  # the other file has them in another order
    strata, half = {"x": (a, b), "y": (a[order], b[order])}, {"x": 0.5, "y": 0.5}
    found = compare(strata, half, prompts={"x": names, "y": [names[n] for n in order]})
    assert (found.items, found.prompts) == (120, 60)
    assert found.difference == pytest.approx(once.difference)
    assert found.high - found.low == pytest.approx(once.high - once.low, rel=0.05)
    assert (once.test, found.test) == ("mcnemar", "sign-flip")
    assert found.p == pytest.approx(once.p, abs=0.02)
    careless = compare(strata, half)
    assert careless.high - careless.low < 0.8 * (found.high - found.low)
    apart = compare(strata, half, prompts={"x": names, "y": [f"{name}!" for name in names]})
    assert apart == careless  # other prompts: as without any


def test_the_interval_covers_the_truth_where_strata_share_prompts() -> None:
    """300 samples of strata that share 40 prompts and have 20 and 10 of their own: 95 % ± 4 %."""
    generator = np.random.default_rng(7)
    covered = without = 0
    for seed in range(300):
        of_prompt = generator.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=70)
        parts = {"x": [*range(60)], "y": [*range(40), *range(60, 70)]}
        strata = {name: (np.zeros(len(of)), of_prompt[of]) for name, of in parts.items()}
        prompts, weights = {n: [*map(str, of)] for n, of in parts.items()}, {"x": 0.3, "y": 0.7}
        one = compare(strata, weights, prompts=prompts, resamples=500, seed=seed)
        other = compare(strata, weights, resamples=500, seed=seed)
        covered += one.low <= 0.1 <= one.high
        without += other.low <= 0.1 <= other.high
        assert one.prompts == 70
    assert 0.91 <= covered / 300 <= 0.99
    assert without / 300 < 0.9


def test_prompts_that_stand_each_in_other_strata_vary_as_any_do() -> None:
    """Of 12 strata 40 prompts stand in half each, hardly two in the same ones."""
    generator = np.random.default_rng(8)
    of_prompt = generator.normal(size=40)
    parts = {str(n): np.flatnonzero(generator.random(40) < 0.5) for n in range(12)}
    strata = {name: (np.zeros(len(of)), of_prompt[of]) for name, of in parts.items()}
    weights = dict.fromkeys(parts, 1 / 12)
    found = compare(strata, weights, prompts={n: [*map(str, of)] for n, of in parts.items()})
    shares = sum(np.isin(np.arange(40), of) / len(of) / 12 for of in parts.values())
    means = {name: of_prompt[of].mean() for name, of in parts.items()}
    moved = sum(
        np.isin(np.arange(40), of) * (of_prompt - means[name]) / len(of) / 12
        for name, of in parts.items()
    )
    error = np.sqrt((moved**2).sum())  # of a ratio of sums of independent prompts
    assert found.prompts == 40 and found.difference == pytest.approx(shares @ of_prompt)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_a_prompt_of_several_texts_belongs_to_each() -> None:
    """A translation's are its own prompt and the original; others of the prompt come with it."""
    a, b = np.random.default_rng(9).normal(size=(2, 4))
    strata = {"x": (a, b), "y": (a, b)}
    also = ["P\x1f1", "Q Q\x1f2", "q\x1f2", "S"]
    found = compare(strata, prompts={"x": [*"pqrs"], "y": also})
    assert found.prompts == 6  # P; Q with q, q; p; r; s; S
    assert found == compare(strata, prompts={"x": [*"pqrs"], "y": [*"PqqS"]})


def test_a_seed_gives_the_same_draws_whatever_else_is_compared() -> None:
    a, b = np.random.default_rng(5).normal(size=(2, 50))
    alone = compare({"x": (a, b)}, seed=7)
    assert alone == compare({"x": (a, b)}, seed=7) != compare({"x": (a, b)}, seed=8)
    beside = compare({"x": (a, b), "y": ([0.0], [0.0])}, {"x": 1.0, "y": 0.0}, seed=7)
    assert (beside.low, beside.high) == pytest.approx((alone.low, alone.high))


PAIRS = st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 2), min_size=1, max_size=30)


@settings(deadline=None, max_examples=50)
@given(PAIRS, PAIRS, st.floats(0.1, 0.9))
def test_swapping_the_models_mirrors_everything(
    x: list[tuple[float, float]], y: list[tuple[float, float]], weight: float
) -> None:
    sides = {name: tuple(zip(*pairs, strict=True)) for name, pairs in (("x", x), ("y", y))}
    weights = {"x": weight, "y": 1 - weight}
    strata = {name: (a, b) for name, (a, b) in sides.items()}
    swapped = {name: (b, a) for name, (a, b) in sides.items()}
    one = compare(strata, weights, resamples=200)
    other = compare(swapped, weights, resamples=200)
    assert (one.a, one.b, one.risen, one.fallen) == (other.b, other.a, other.fallen, other.risen)
    assert one.difference == pytest.approx(-other.difference, abs=1e-12)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)
    assert (one.p, one.test) == (other.p, other.test)
    assert one.difference == pytest.approx(one.b - one.a, abs=1e-12)
    assert 0 < one.p <= 1 and one.low <= one.high


@settings(deadline=None, max_examples=25)
@given(PAIRS)
def test_a_model_is_not_unlike_itself(pairs: list[tuple[float, float]]) -> None:
    values = [a for a, _ in pairs]
    found = compare({"x": (values, values)}, resamples=100)
    assert (found.difference, found.low, found.high, found.risen, found.fallen) == (0, 0, 0, 0, 0)
    assert found.p == 1.0


def test_memory_does_not_grow_with_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn in portions: as many means, of the same distribution, whatever the portion."""
    values = np.random.default_rng(6).normal(size=300)
    for portion in (1, 1000, 2**20):
        monkeypatch.setattr(resampling, "_AT_A_TIME", portion)
        means = resampling.bootstrap_means(Drawn.of(values), 501, np.random.default_rng(0))
        assert len(means) == 501 and means.mean() == pytest.approx(values.mean(), abs=0.02)
        flipped = resampling.sign_flipped_means(Drawn.of(values), 501, np.random.default_rng(0))
        assert len(flipped) == 501 and flipped.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("strata", "weights", "what"),
    [
        ({}, None, "strata"),
        ({"x": ([], [])}, None, "x: values of shape"),
        ({"x": ([1.0], [1.0, 0.0])}, None, "x: values of shape"),
        ({"x": ([1.0], [float("nan")])}, None, "x: a value is not finite"),
        ({"x": ([1.0], [1.0])}, {"y": 1.0}, r"weights of \['y'\]"),
    ],
)
def test_what_cannot_be_compared_is_said(strata: dict, weights: dict | None, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        statistics.compare(strata, weights)


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(statistics).failed == 0
    assert doctest.testmod(statistics).attempted == 2
