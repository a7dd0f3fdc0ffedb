"""Groups whose aggregation is a callable; all others as lm-eval has them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.tasks.base.sections import Member, by_weight, honour_callables, mean_of_members


def group_of(
    name: str, aggregation: Any, members: dict[str, dict[str, Any]], **options: Any
) -> Any:
    """A group of stand-ins for leaf tasks; `members` are their metadata by name."""
    from types import SimpleNamespace

    from lm_eval.api.group import Group
    from lm_eval.api.task import ConfigurableTask

    group = Group.from_config(
        {
            "group": name,
            "task": list(members),
            "aggregate_metric_list": [
                {"metric": "accuracy", "aggregation": aggregation, **options}
            ],
        }
    )
    for member, metadata in members.items():
        leaf = ConfigurableTask.__new__(ConfigurableTask)
        leaf._config = SimpleNamespace(task=member, metadata=metadata)
        group.add(leaf)
    return group


def score(value: float, error: float, rows: int) -> dict[str, Any]:
    return {"accuracy,none": value, "accuracy_stderr,none": error, "sample_len": rows}


SCORES = {"a": score(0.5, 0.05, 100), "b": score(1.0, 0.01, 300)}


def test_a_section_is_weighted_by_its_leaves_own_weight() -> None:
    group = group_of("section", by_weight, {"a": {"weight": 984}, "b": {"weight": 328}})
    result = group.aggregate(SCORES)
    assert result["accuracy,none"] == pytest.approx((0.5 * 984 + 1.0 * 328) / 1312)
    assert result["accuracy_stderr,none"] == pytest.approx(
        math.hypot(0.05 * 984, 0.01 * 328) / 1312
    )
    assert result["alias"] == "section"


def test_without_a_weight_the_rows_count() -> None:
    group = group_of("section", by_weight, {"a": {}, "b": {}})
    assert group.aggregate(SCORES)["accuracy,none"] == pytest.approx(0.875)


def test_lm_evals_own_mean_is_untouched() -> None:
    for options, expected in (({"weight_by_size": True}, 0.875), ({"weight_by_size": False}, 0.75)):
        group = group_of("plain", "mean", {"a": {"weight": 7}, "b": {}}, **options)
        assert group.aggregate(SCORES)["accuracy,none"] == pytest.approx(expected)


def test_a_missing_standard_error_is_not_invented() -> None:
    scores = {"a": {**SCORES["a"], "accuracy_stderr,none": "N/A"}, "b": SCORES["b"]}
    group = group_of("section", by_weight, {"a": {}, "b": {}})
    assert group.aggregate(scores)["accuracy_stderr,none"] == "N/A"


def test_an_overall_score_is_the_mean_of_its_members() -> None:
    members = [Member("x", 0.2, 0.1, 9.0), Member("y", 0.4, 0.1, 1.0)]
    value, error = mean_of_members(members)
    assert value == pytest.approx(0.3)
    assert error == pytest.approx(0.1 / math.sqrt(2))


def test_installing_twice_changes_nothing() -> None:
    from lm_eval.api.group import Group

    before = Group.aggregate
    honour_callables()
    assert Group.aggregate is before
