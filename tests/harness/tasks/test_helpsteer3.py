"""HelpSteer3: the sign of a preference is its side, its size the strength."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import oracle

Write = Callable[..., Path]


def row(number: int, preference: Any, first: str = "", second: str = "") -> dict[str, Any]:
    """A row of the Hub's schema; every other context is a conversation."""
    ask = f"What is {number} + {number}?"
    before = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Yes?"}]
    return {
        "domain": "general",
        "context": [*before, {"role": "user", "content": ask}] if number % 2 else ask,
        "response1": first or f"It is {2 * number}.",
        "response2": second or f"I cannot help with {number * number}!",
        "overall_preference": preference,
    }


PREFERENCES = (-3, -2, -1, 0, 1, 2, 3, -1, 1, 0, -3)
ROWS = [row(number, preference) for number, preference in enumerate(PREFERENCES)]


def test_all_pairs_and_each_strength(
    evaluated: Callable[..., Any], rewards: Callable[..., float], write_rows: Write
) -> None:
    """0 is no preference, and no pair."""
    results, scored = evaluated(write_rows(ROWS, "helpsteer3"), "helpsteer3")
    right: dict[int, list[bool]] = {1: [], 2: [], 3: []}
    for one in ROWS:
        first, second = (rewards(one["context"], one[f"response{at}"]) for at in (1, 2))
        if one["overall_preference"] < 0:
            right[-one["overall_preference"]].append(first > second)
        elif one["overall_preference"] > 0:
            right[one["overall_preference"]].append(second > first)
    found = results["results"]
    for strength, values in right.items():
        accuracy = found[f"helpsteer3-{strength}"]["accuracy,none"]
        assert accuracy == pytest.approx(sum(values) / len(values))
    every = [one for values in right.values() for one in values]
    assert len(every) == 9 and 0 < sum(every) < 9
    assert found["helpsteer3"]["accuracy,none"] == pytest.approx(sum(every) / 9)
    assert scored == 2 * 9
    (sample,) = [s for s in results["samples"]["helpsteer3-2"] if s["doc_id"] == 0]
    assert [turn["role"] for turn in sample["doc"]["prompt"]] == ["user", "assistant", "user"]


def test_equal_rewards_are_wrong_on_either_side(tasks: Any, write_rows: Write) -> None:
    import lm_eval

    rows = [row(n, p, "yes 1", "no 1") for n, p in enumerate((-2, 2))]
    results = lm_eval.simple_evaluate(
        oracle(),
        tasks=["helpsteer3"],
        task_manager=tasks(data_dir=write_rows(rows, "helpsteer3")),
        bootstrap_iters=0,
    )["results"]
    assert results["helpsteer3"]["accuracy,none"] == 0 and results["helpsteer3"]["ties,none"] == 1
    assert results["helpsteer3"]["alias"].endswith("(partial: 1 of 3 subsets)")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"overall_preference": 4}, "column overall_preference is 4, expected a whole number from"),
        ({"overall_preference": "2"}, "column overall_preference is str '2', expected int"),
        ({"overall_preference": None}, "column overall_preference is NoneType"),
        ({"context": [{"role": "assistant", "content": "Hi"}]}, "column context"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    tasks: Any, write_rows: Write, changes: dict[str, Any], expected: str
) -> None:
    folder = write_rows([ROWS[0], {**ROWS[1], **changes}], "helpsteer3")
    with pytest.raises(HarnessError, match=r"helpsteer3\.jsonl, row 2") as error:
        tasks(data_dir=folder).load(["helpsteer3-1"])
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_another_number_of_rows_is_told_once(
    tasks: Any, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Of all strengths, as the published number is."""
    with caplog.at_level(logging.WARNING):
        tasks(data_dir=write_rows(ROWS, "helpsteer3")).load(["helpsteer3"])
    assert "helpsteer3: 11 rows in " in caplog.text
    assert caplog.text.count("the official set has 2017") == 1
