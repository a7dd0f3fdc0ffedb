"""The rules that choose, on cases worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.runs.results import Run
from harness.sweep.choose import (
    BEST,
    ONE_STANDARD_ERROR,
    Score,
    Section,
    best,
    chosen,
    is_rising,
    mean_score,
    sections,
)


def scores(*values: float, stderr: float | None = 0.1) -> list[Score]:
    return [Score(value, stderr, 100) for value in values]


@pytest.mark.parametrize(
    ("given", "at_best", "at_one_standard_error"),
    [
        (scores(0.5, 0.7, 0.9, 0.85), 2, 2),  # 0.7 is too far
        (scores(0.5, 0.75, 0.8, 0.79), 2, 1),
        (scores(0.7, 0.6, 0.8), 2, 0),  # 0.8 - 0.7 is 0.1, whatever binary fractions say
        (scores(0.69, 0.6, 0.8), 2, 2),
        (scores(0.8, 0.8, 0.8), 0, 0),  # the smallest of equal ones
        (scores(0.1, 0.1 + 0.2, 0.3), 1, 1),  # 0.1 + 0.2 is not above 0.3
        (scores(0.5, 0.8, 0.79, stderr=None), 1, 1),  # no standard error: no leeway
        ([Score(0.7, 0.3, 9), Score(0.8, 0.05, 9)], 1, 1),  # that of the best counts
        ([Score(0.7, 0.0, 9), Score(0.8, 0.15, 9)], 1, 0),
    ],
)
def test_the_larger_is_better(given: list[Score], at_best: int, at_one_standard_error: int) -> None:
    assert best(given) == chosen(given, BEST) == at_best
    assert chosen(given, ONE_STANDARD_ERROR) == at_one_standard_error


def test_the_smaller_is_better() -> None:
    given = scores(0.5, 0.35, 0.3, 0.3)
    assert best(given, rising=False) == chosen(given, BEST, rising=False) == 2
    assert chosen(given, ONE_STANDARD_ERROR, rising=False) == 1


def section(score: float, stderr: float | None, items: int) -> Section:
    return Section("a", 0, False, score, stderr, items)


def test_several_tasks_count_alike() -> None:
    """Their mean, and the standard error of a mean of independent parts: √(3² + 4²)/2 = 2.5."""
    found = mean_score([section(0.4, 0.03, 10), section(0.8, 0.04, 1000)])
    assert found.value == pytest.approx(0.6)
    assert found.stderr == pytest.approx(0.025)
    assert found.items == 1010
    assert mean_score([section(0.4, 0.03, 10), section(0.8, None, 1)]).stderr is None


def run(results: dict[str, Any], tree: dict[str, list[str]] | None = None) -> Run:
    content = {
        "results": results,
        "group_subtasks": tree or {},
        "n-samples": {name: {"original": 9, "effective": 4} for name in results},
        "higher_is_better": {name: {"accuracy": True, "ties": False} for name in results},
    }
    return Run(Path("out/task"), {}, {"2026": content})


def test_sections_are_a_group_and_its_members() -> None:
    found = sections(
        run(
            {
                "leaf-a": {"accuracy,none": 0.5, "accuracy_stderr,none": 0.1},
                "leaf-b": {"accuracy,none": 1, "accuracy_stderr,none": "N/A"},
                "group": {"accuracy,none": 0.6, "accuracy_stderr,none": 0.05},
            },
            {"group": ["leaf-a", "leaf-b", "absent"]},
        ),
        "accuracy",
    )
    assert [one.as_dict() for one in found] == [
        {"name": "group", "depth": 0, "is_group": True, "score": 0.6, "stderr": 0.05, "items": 8},
        {"name": "leaf-a", "depth": 1, "is_group": False, "score": 0.5, "stderr": 0.1, "items": 4},
        {"name": "leaf-b", "depth": 1, "is_group": False, "score": 1.0, "stderr": None, "items": 4},
    ]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "N/A"])
def test_a_score_that_is_no_number_chooses_nothing(score: object) -> None:
    with pytest.raises(HarnessError, match=r"the accuracy of a is .*, expected a finite number"):
        sections(run({"a": {"accuracy,none": score}}), "accuracy")


def test_a_metric_that_is_not_there_is_told_with_those_that_are() -> None:
    one = run({"a": {"alias": "a", "accuracy,none": 0.5, "accuracy_stderr,none": 0.1}})
    with pytest.raises(HarnessError, match=r"out/task: no acc there \(it has: accuracy\)"):
        sections(one, "acc")


def test_the_tasks_say_which_way_is_better() -> None:
    one = run({"a": {}})
    assert is_rising(one, "accuracy") and is_rising(one, "accuracy,none")
    assert not is_rising(one, "ties")
