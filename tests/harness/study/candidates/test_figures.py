"""Means over seeds, and differences to the general candidate."""

from __future__ import annotations

import math

import pytest

from harness.compare import statistics
from harness.errors import HarnessError
from harness.study.candidates.figures import Scored, TaskValues, against, score


def task(*values: float, name: str = "facts") -> TaskValues:
    numbered = dict(enumerate(values))
    documents = {name: {n: f"document {n}" for n in numbered}}
    prompts = {name: [*documents[name].values()]}
    return TaskValues({name: numbered}, documents, prompts, {name: 1.0}, rising=True, seconds=1.0)


def only(*values: float) -> Scored:
    return Scored({None: {"facts": task(*values)}})


def test_a_score_is_the_mean_over_seeds_and_tasks() -> None:
    one = Scored(
        {
            1: {"facts": task(1, 1, 0, 0), "other": task(1, 0, name="other")},
            2: {"facts": task(1, 0, 0, 0), "other": task(1, 1, name="other")},
        }
    )
    found = score(one, ["facts", "other"])
    assert found.tasks == {"facts": 0.375, "other": 0.75}
    assert found.score == pytest.approx((0.375 + 0.75) / 2)
    assert found.by_seed == {"1": 0.5, "2": pytest.approx((0.25 + 1) / 2)}
    # of 1, .5, 0, 0 and of 1, .5, each task counting a half
    variance = (0.6875 / 3) / 4 / 4 + 0.125 / 2 / 4
    assert found.stderr == pytest.approx(math.sqrt(variance))


def test_differences_are_those_of_compare_and_p_is_corrected_over_candidates() -> None:
    general = only(*[0] * 10, *[1] * 10)
    better, same = only(*[1] * 9, 0, *[1] * 10), only(*[0] * 10, *[1] * 10)
    found = against(general, {"better": better, "same": same}, ["facts"])
    pairs = {"facts": ([0] * 10 + [1] * 10, [1] * 9 + [0] + [1] * 10)}
    expected = statistics.compare(pairs, resamples=2 * statistics.RESAMPLES)
    one = found["better"]
    assert (one.difference, one.low, one.high) == (0.45, expected.low, expected.high)
    assert one.p == statistics.mcnemar(9, 0)
    assert one.p_holm == 2 * one.p
    assert (one.gained, one.lost) == (9, 0)
    assert (found["same"].difference, found["same"].p_holm) == (0, 1)


def test_a_p_of_many_candidates_can_be_small() -> None:
    """Means over seeds are no longer right or wrong, so p is drawn; Holm must not use it up."""
    general = Scored({seed: {"facts": task(*[0] * 60)} for seed in (1, 2)})
    half = Scored({1: {"facts": task(*[1] * 60)}, 2: {"facts": task(*[0] * 60)}})
    found = against(general, {str(number): half for number in range(20)}, ["facts"])
    assert all(one.p_holm < 0.001 for one in found.values())


def test_other_rows_are_refused() -> None:
    with pytest.raises(HarnessError, match="not scored on the same rows"):
        against(only(1, 0), {"other": only(1, 0, 1)}, ["facts"])
