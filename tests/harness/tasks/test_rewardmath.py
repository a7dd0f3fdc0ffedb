"""RewardMATH: one right solution against nine wrong ones, out of lm-eval's own run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.base.one_right import longest, reciprocal_rank
from tests.harness.conftest import oracle

Tasks = Callable[..., Any]
Write = Callable[..., Path]


def problem(number: int, chosen: float, rejected: Sequence[float]) -> list[dict[str, Any]]:
    """The rows of a problem in the schema of the Hub and the repository, one a solution."""
    return [
        {
            "problem": f"What is {number} + {number}?",
            "answer": str(2 * number),
            "eval_solution": ["Add the numbers.", f"That gives {reward}"],
            "solution_reference": "human_to_GPT-4" if at == 0 else f"model {at}",
            "solution_type": "rejected" if at else "chosen",
            "subject": "Algebra",
            "level": 1,
            "problem_id": number,
            "id": 10 * number + at,
        }
        for at, reward in enumerate([chosen, *rejected])
    ]


ROWS = [
    *problem(1, 10, range(9)),  # beats all nine
    *problem(2, 8, [*range(8), 8]),  # ties with one: wrong, and second
    *problem(3, 5, [0, 1, 2, 3, 4, 6, 7, 8, 9]),  # four are better: fifth
    *problem(4, -1, range(9)),  # last
]


def run(manager: Any, **options: Any) -> Any:
    import lm_eval

    return lm_eval.simple_evaluate(oracle(), tasks=["rewardmath"], task_manager=manager, **options)


def values(results: Any) -> dict[str, Any]:
    found = results["results"]["rewardmath"]
    return {key.split(",")[0]: value for key, value in found.items() if "," in key}


def test_ranks_worked_by_hand() -> None:
    """A tie puts the right solution last among the equal ones, as the official sorting does."""
    assert reciprocal_rank(3, [1, 2]) == 1
    assert reciprocal_rank(2, [3, 1]) == 1 / 2
    assert reciprocal_rank(2, [2, 2, 1]) == 1 / 3
    assert reciprocal_rank(float("nan"), [1, 2, 3]) == 1 / 4
    assert reciprocal_rank(1, [float("nan")]) == 1 / 2


def test_the_length_baseline() -> None:
    assert longest("aaa", ["a", "aa"]) == 1
    assert longest("aa", ["aa", "a"]) == 1 / 2
    assert longest("a", ["aa", "a"]) == 0


def test_the_official_scores_come_out(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """All nine must be beaten; mean reciprocal rank; both with standard errors."""
    from lm_eval.utils import make_table

    results = run(tasks(data_dir=write_rows(ROWS, "rewardmath")))
    found = values(results)
    assert found["accuracy"] == 1 / 4
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 10) / 4)
    assert found["ties"] == pytest.approx(1 / 9 / 4)
    # chosen - rejected over the nine: 10 - 4, 8 - 4, 5 - 40/9, -1 - 4
    assert found["margin"] == pytest.approx((6 + 4 + 5 / 9 - 5) / 4)
    # "10" and "-1" are a character longer than the wrong ones, the others are as long as nine more
    assert found["longer"] == pytest.approx((1 + 1 / 10 + 1 / 10 + 1) / 4)
    assert found["accuracy_stderr"] == pytest.approx(0.25) and found["mrr_stderr"] > 0
    assert results["n-samples"]["rewardmath"]["effective"] == 4
    assert "rewardmath: 4 rows" in caplog.text and "official set has 483" in caplog.text
    assert "mrr" in make_table(results)
    json.dumps(results["samples"])


def test_steps_are_lines_and_solutions_are_scored_once(tasks: Tasks, write_rows: Write) -> None:
    """10 requests a problem; the right solution first, wherever its row stands."""
    rows = problem(1, 10, range(9))
    results = run(tasks(data_dir=write_rows(rows[::-1], "rewardmath")))
    (sample,) = results["samples"]["rewardmath"]
    rewards = [answer[0] for answer in sample["filtered_resps"]]
    assert rewards == [10, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    prompt, response = sample["arguments"][0]
    assert prompt == "User: What is 1 + 1?\n\nAssistant: "
    assert response == "Add the numbers.\nThat gives 10"


def test_the_repositorys_json_file_is_read(tasks: Tasks, tmp_path: Path) -> None:
    """RewardMATH_direct.json is a list of rows; problems may be interleaved in it."""
    (tmp_path / "rewardmath.json").write_text(json.dumps(sorted(ROWS, key=lambda r: r["id"] % 10)))
    assert values(run(tasks(data_dir=tmp_path)))["accuracy"] == 1 / 4


def test_parquet_holds_the_same_rows(tasks: Tasks, tmp_path: Path) -> None:
    """As the Hub gives them."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(ROWS)
    pyarrow.parquet.write_table(table, tmp_path / "rewardmath.parquet")
    assert values(run(tasks(data_dir=tmp_path)))["accuracy"] == 1 / 4


def test_another_number_of_wrong_solutions_is_told(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*problem(1, 10, range(9)), *problem(2, 1, [0, 2])]
    assert values(run(tasks(data_dir=write_rows(rows, "rewardmath"))))["mrr"] == 0.75
    assert "1 of 2 problems do not have 9 rejected solutions" in caplog.text
    assert "the first is problem_id 2" in caplog.text


def test_an_empty_solution_is_told(
    tasks: Tasks, write_rows: Write, caplog: pytest.LogCaptureFixture
) -> None:
    rows = problem(1, 10, range(9))
    rows[3]["eval_solution"], rows[4]["eval_solution"] = [], [" ", ""]
    tasks(data_dir=write_rows(rows, "rewardmath")).load(["rewardmath"])
    assert "2 empty solutions; they are scored as they are" in caplog.text


GOOD = problem(1, 1, [0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD[1:], r"problem_id 1: 0 chosen and 1 rejected solutions, expected 1 and 9"),
        (GOOD[:1], r"problem_id 1: 1 chosen and 0 rejected"),
        ([*GOOD, GOOD[0]], r"problem_id 1: 2 chosen and 1 rejected"),
        ([GOOD[0], {**GOOD[1], "problem": "Other?"}], r"problem_id 1: the rows differ in column"),
        ([{**GOOD[0], "solution_type": "good"}], r"row 1: column solution_type is 'good'"),
        ([{**GOOD[0], "eval_solution": "a"}], r"row 1: column eval_solution is str 'a'"),
        ([{**GOOD[0], "eval_solution": [1]}], r"row 1: column eval_solution is \[1\], expected"),
        ([{"prompt": "a", "chosen": "b"}], r"row 1: no column problem, eval_solution"),
    ],
)
def test_what_does_not_fit_is_named(
    tasks: Tasks, write_rows: Write, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(HarnessError, match=rf"rewardmath\.jsonl, {message}"):
        run(tasks(data_dir=write_rows(rows, "rewardmath")))
