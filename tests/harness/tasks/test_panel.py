"""The panel: seven benchmarks' overall scores, and their plain mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.compare.groups import definitions
from harness.errors import HarnessError
from harness.tasks.base.sections import Member
from tests.harness.conftest import preference_rows
from tests.harness.tasks import test_judgebench, test_rewardbench2, test_rmb, test_rmbench
from tests.harness.tasks.test_ppe_correctness import row as ppe_row
from tests.harness.tasks.test_ppe_preference import ROWS as PPE_ROWS

SEVEN = (
    *("rewardbench", "rewardbench2", "ppe_preference", "ppe_correctness"),
    *("rmb", "rmbench", "judgebench"),
)


def write_panel(write: Callable[..., Path]) -> Path:
    """A few rows of each of the seven."""
    write([*preference_rows("hep-go", 2), *preference_rows("donotanswer", 2)], "rewardbench")
    write([*test_rewardbench2.rows()[:3], *test_rewardbench2.TIES_ROWS], "rewardbench2")
    write(PPE_ROWS, "ppe_preference")
    write([ppe_row(1, "MATH")], "ppe_correctness-MATH")
    write([test_rmb.pair(1)], "rmb-pairwise-helpfulness")
    write([test_rmb.best(1)], "rmb-bon-harmlessness")
    write(test_rmbench.ROWS[:4], "rmbench")
    return write(test_judgebench.pairs("gpt", "math", 1, 2), "judgebench")


def test_the_plain_mean_of_the_seven(
    evaluated: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    results, _ = evaluated(write_panel(write_rows), "panel")
    found = results["results"]
    seven = [found[name]["accuracy,none"] for name in SEVEN]
    assert results["group_subtasks"]["panel"] == list(SEVEN) and len(set(seven)) > 2
    assert found["panel"]["accuracy,none"] == pytest.approx(sum(seven) / 7)


# Skywork-Reward-V2-Qwen3-0.6B's published row, in the order of SEVEN, and its average.
PUBLISHED, AVERAGE = (85.2, 61.3, 65.3, 68.3, 74.5, 74.4, 67.6), 70.9


def test_a_published_average_comes_out() -> None:
    (rule, *_) = definitions(["panel"])["panel"].aggregate_metric_list
    members = [Member(name, value, None, 1.0) for name, value in zip(SEVEN, PUBLISHED, strict=True)]
    assert rule.aggregation(members)[0] == pytest.approx(AVERAGE, abs=0.05)


def test_what_the_folder_lacks_is_the_hubs_if_asked_for(
    tasks: Any, write_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RMB is not on the Hub and the others are: a folder with RMB alone must do."""
    asked = []

    def from_hub(hub_id: str, *args: Any, **options: Any) -> Any:
        asked.append(hub_id)
        return iter(PPE_ROWS)

    monkeypatch.setattr("harness.rows.datasets.from_hub", from_hub)
    monkeypatch.setattr("harness.rows.datasets._loaded", {})
    folder = write_rows([test_rmb.best(1)], "rmb-bon-harmlessness")
    names = ["ppe_preference", "rmb-bon-harmlessness"]
    with pytest.raises(HarnessError, match=r'--metadata \'{"missing": "hub"}\''):
        tasks(data_dir=folder).load(names)
    with pytest.raises(HarnessError, match="missing is 'Hub', expected 'hub'"):
        tasks(data_dir=folder, missing="Hub").load(names)
    loaded = tasks(data_dir=folder, missing="hub").load(names)["tasks"]
    assert sorted(loaded) == sorted(names) and asked == ["lmarena-ai/PPE-Human-Preference-V1"]
