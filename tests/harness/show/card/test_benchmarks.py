"""Which data set a section is measured on."""

from pathlib import Path

import pytest

from harness.show.card.benchmarks import Benchmark, benchmarks, task_index


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rewardbench", Benchmark("allenai/reward-bench", split="filtered", rows=2985)),
        ("rewardbench-math-prm", Benchmark("allenai/reward-bench", split="filtered", rows=447)),
        ("hh-helpful-base", Benchmark("Anthropic/hh-rlhf", None, "helpful-base", "test", 2354)),
        ("hh_helpful", Benchmark("Anthropic/hh-rlhf", None, None, "test", 2354 + 1137 + 2749)),
        ("judgebench_gpt", Benchmark("ScalerLab/JudgeBench", split="gpt", rows=350)),
        ("rmbench-chat", Benchmark("THU-KEG/RM-Bench", split="train", rows=129)),
        ("ppe_best_of_k-MATH", Benchmark("lmarena-ai/PPE-MATH-Best-of-K", split="train")),
        (
            "mrewardbench-tur_Latn",
            Benchmark("CohereLabsCommunity/multilingual-reward-bench", "tur_Latn", split="test"),
        ),
        ("rmb-bon-helpfulness", Benchmark("rmb-bon-helpfulness", rows=2109)),
        ("panel", Benchmark("panel")),  # seven
        ("autoj-math", Benchmark("autoj", rows=32)),  # not on the Hub
        ("rewardbench1_with_prior_sets", Benchmark("rewardbench1_with_prior_sets")),  # two of them
    ],
)
def test_of_this_projects_tasks(name: str, expected: Benchmark) -> None:
    assert benchmarks([(name, 0)], *task_index([name])) == {name: expected}


def test_of_own_data(tmp_path: Path) -> None:
    """A file beside the YAML has the task's name; a data set of the Hub its id."""
    head = "class: !function harness.own_data.OwnPreferences\ncolumns: {section: topic}\n"
    (tmp_path / "mine.yaml").write_text(f"task: mine\ndataset_path: mine.jsonl\n{head}")
    (tmp_path / "hub.yaml").write_text(
        f"task: hub\ndataset_path: me/prefs\ndataset_name: en\ntest_split: dev\n{head}"
    )
    configs, tree = task_index(["mine", "hub"], [tmp_path])
    found = benchmarks([("mine", 0), ("mine-a", 1), ("hub", 0), ("hub-a", 1)], configs, tree)
    assert found["mine"] == Benchmark("mine")
    assert found["mine-a"].id == "mine"
    assert found["hub"] == Benchmark("me/prefs", "en", split="dev")
    assert found["hub-a"] == Benchmark("me/prefs", "en", split="dev")


def test_items() -> None:
    """A part of the published set is said to be one."""
    assert Benchmark("x", rows=100).items(60) == "60 of 100"
    assert Benchmark("x", rows=100).items(100) == Benchmark("x").items(100) == "100"
