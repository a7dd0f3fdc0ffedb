"""PPE Preference: people's choice, without their ties."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import oracle

Write = Callable[..., Path]

WINNERS = ("model_a", "model_b", "tie", "model_a", "tie (bothbad)", "model_b", "model_b")


def row(number: int, winner: str, first: str = "", second: str = "") -> dict[str, Any]:
    """A row of the Hub's schema."""
    return {
        "question_id": f"q{number}",
        "prompt": f"What is {number} + {number}?",
        "response_1": first or f"It is {2 * number}, of course.",
        "response_2": second or f"I think {number * number}",
        "model_a": "one",
        "model_b": "another",
        "winner": winner,
        "language": "English",
        "conv_metadata": {"turns": 1},
    }


ROWS = [row(number, winner) for number, winner in enumerate(WINNERS)]


def test_the_share_of_rows_without_ties(
    evaluated: Callable[..., Any], rewards: Callable[..., float], write_rows: Write
) -> None:
    results, scored = evaluated(write_rows(ROWS, "ppe_preference"), "ppe_preference")
    right = []
    for one in ROWS:
        first, second = (rewards(one["prompt"], one[f"response_{at}"]) for at in (1, 2))
        if one["winner"].startswith("model"):
            right.append(first > second if one["winner"] == "model_a" else second > first)
    assert len(right) == 5 and 0 < sum(right) < 5
    assert results["results"]["ppe_preference"]["accuracy,none"] == sum(right) / 5
    assert results["n-samples"]["ppe_preference"]["effective"] == 5
    assert scored == 10


def test_equal_rewards_are_wrong_for_either_winner(tasks: Any, write_rows: Write) -> None:
    import lm_eval

    rows = [row(n, w, "yes 1", "no 1") for n, w in enumerate(("model_a", "model_b"))]
    manager = tasks(data_dir=write_rows(rows, "ppe_preference"))
    found = lm_eval.simple_evaluate(oracle(), tasks=["ppe_preference"], task_manager=manager)
    assert found["results"]["ppe_preference"]["accuracy,none"] == 0
    assert found["results"]["ppe_preference"]["ties,none"] == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"winner": "both"}, "column winner is 'both', expected model_a, model_b, or what begins"),
        ({"response_2": None}, "column response_2 is NoneType"),
    ],
)
def test_a_row_that_does_not_fit_is_named(
    tasks: Any, write_rows: Write, changes: dict[str, Any], expected: str
) -> None:
    folder = write_rows([ROWS[0], {**ROWS[1], **changes}], "ppe_preference")
    with pytest.raises(HarnessError, match=r"ppe_preference\.jsonl, row 2") as error:
        tasks(data_dir=folder).load(["ppe_preference"])
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_a_file_of_ties_has_nothing_to_score(tasks: Any, write_rows: Write) -> None:
    with pytest.raises(HarnessError, match="none of its rows makes a document of ppe_preference"):
        tasks(data_dir=write_rows([row(1, "tie")], "ppe_preference")).load(["ppe_preference"])


def test_another_number_of_rows_is_told(
    tasks: Any, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """All rows, of which the ties are no documents."""
    with caplog.at_level(logging.WARNING):
        tasks(data_dir=write_rows(ROWS, "ppe_preference")).load(["ppe_preference"])
    assert "ppe_preference: 7 rows in " in caplog.text
    assert "the official set has 16038: not comparable" in caplog.text
