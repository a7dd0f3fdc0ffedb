"""What a task counts in a group, by the group's own YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from lm_eval.config.group import GroupConfig

from harness.compare.groups import (
    LeafWeight,
    definitions,
    leaf_weights,
    own_data,
)
from harness.errors import HarnessError
from harness.runs.group_tree import leaves_below
from harness.tasks.base.sections import by_weight

TREE = {"all": ["left", "right"], "left": ["a", "b"], "right": ["c", "gone"], "gone": []}
LEAVES = {"a": LeafWeight(30, None), "b": LeafWeight(10, None), "c": LeafWeight(60, 5.0)}


def group(name: str, weight: float | None = None, **rule: object) -> GroupConfig:
    metadata = None if weight is None else {"weight": weight}
    return GroupConfig(
        group=name, aggregate_metric_list={"metric": "acc", **rule}, metadata=metadata
    )


def test_lm_evals_own_means_are_over_all_leaves() -> None:
    by_size = leaf_weights("all", "acc", TREE, LEAVES, {"all": group("all")})
    assert by_size == pytest.approx({"a": 0.3, "b": 0.1, "c": 0.6})
    plain = leaf_weights("all", "acc", TREE, LEAVES, {"all": group("all", weight_by_size=False)})
    assert plain == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


def test_rules_over_members_are_followed_down() -> None:
    """A section that weighs half, as RewardBench's prior sets do; leaves by rows or weight."""
    configs = {
        "all": group("all", aggregation=by_weight),
        "left": group("left", aggregation=by_weight),
        "right": group("right", weight=0.5, aggregation=by_weight),
    }
    found = leaf_weights("all", "acc", TREE, LEAVES, configs)
    assert found == pytest.approx({"a": 0.5, "b": 0.5 / 3, "c": 1 / 3})


def test_a_rule_that_is_no_weighted_sum_is_refused() -> None:
    def worst(members: list) -> tuple[float, None]:
        return min(member.value for member in members), None

    configs = {"left": group("left", aggregation=worst)}
    with pytest.raises(HarnessError, match=r"^the score is not a weighted sum"):
        leaf_weights("left", "acc", TREE, LEAVES, configs)


def test_a_rule_that_is_not_known_is_said() -> None:
    with pytest.raises(HarnessError, match=r"^no YAML found here"):
        leaf_weights("left", "acc", TREE, LEAVES, {})
    with pytest.raises(HarnessError, match=r"^the YAML has no rule for brier"):
        leaf_weights("left", "brier", TREE, LEAVES, {"left": group("left")})


def test_leaves_are_found_at_any_depth_once() -> None:
    assert leaves_below("all", TREE) == ["a", "b", "c", "gone"]
    assert leaves_below("top", {**TREE, "top": ["all", "left"]}) == ["a", "b", "c", "gone"]


def test_a_users_own_group_by_include_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "group: mine\ntask: [mine-a, mine-b]\n"
        "aggregate_metric_list:\n  - metric: accuracy\n    aggregation: !function rules.first\n"
    )
    (tmp_path / "rules.py").write_text("def first(members):\n    return members[0].value, None\n")
    found = definitions(["mine", "rewardbench_chat"], [tmp_path])
    assert set(found) == {"mine", "rewardbench_chat"}
    tree = {"mine": ["a", "b"]}
    assert leaf_weights("mine", "accuracy", tree, LEAVES, found) == {"a": 1.0, "b": 0.0}
    assert definitions([], [tmp_path]) == {}


def section(task: str, name: str = "OwnPreferences", **options: object) -> dict[str, object]:
    """A leaf's config as a results file has it."""
    process = f"harness.own_data.{name}.score"
    return {"task": task, "process_results": process, "dataset_kwargs": {"source": [], **options}}


@pytest.mark.parametrize(
    ("leaf", "known"),
    [
        (section("mine-b", section="b"), True),
        (section("other-b", section="b"), False),
        (section("mine-b"), False),
        (section("mine-b", "Another", section="b"), False),
        ({"task": "mine-b", "dataset_kwargs": None}, False),
    ],
)
def test_leaves_tell_a_group_of_own_data(leaf: dict[str, object], known: bool) -> None:
    configs = {"mine-a": section("mine-a", section="a"), "mine-b": leaf}
    tree = {"mine": ["mine-a", "mine-b"], "none": []}
    assert own_data(tree, configs) == ({"mine"} if known else set())


def test_a_yaml_tells_a_group_of_own_data_of_a_class_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "task: mine\nclass: !function prefs.Mine\nmetadata: {weight: 3}\n"
    )
    (tmp_path / "prefs.py").write_text(
        "from harness.own_data import OwnPreferences\n\n\nclass Mine(OwnPreferences): ...\n"
    )
    found = definitions(["mine"], [tmp_path])["mine"]
    assert found.metadata == {"weight": 3}
    weights = leaf_weights("mine", "margin", {"mine": ["a", "c"]}, LEAVES, {"mine": found})
    assert weights == pytest.approx({"a": 30 / 35, "c": 5 / 35})


@pytest.mark.slow
def test_lm_evals_groups_are_found_too() -> None:
    """By reading all of its YAMLs, which takes seconds."""
    assert set(definitions(["mmlu_stem", "no_such_group"])) == {"mmlu_stem"}
