"""M-RewardBench: RewardBench's subsets in each language, and the mean over languages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.compare.groups import LeafWeight, definitions, leaf_weights
from harness.errors import HarnessError
from harness.tasks.mrewardbench.task import weights
from tests.harness.conftest import preference_rows

Write = Callable[..., Path]

SUBSETS = ("alpacaeval-easy", "mt-bench-hard", "donotanswer", "math-prm", "hep-go", "hep-java")


def rows(language: str, subsets: tuple[str, ...] = SUBSETS) -> list[dict[str, Any]]:
    """Rows of the Hub's schema."""
    made = []
    for at, subset in enumerate(subsets):
        for row in preference_rows(subset, 2 + at % 3, start=10 * at):
            about = {"language": language, "category": "Chat", "source": "a translator"}
            made.append({**row, "prompt": f"{language}: {row['prompt']}", **about})
    return made


def test_the_mean_of_languages_by_the_weights_of_english(
    evaluated: Callable[..., Any], rewards: Callable[..., float], write_rows: Write
) -> None:
    """A subset's own number of rows is no weight; absent subsets and languages are told."""
    languages = {"tur_Latn": rows("tur_Latn"), "deu_Latn": rows("deu_Latn", SUBSETS[2::2])}
    for language, some in languages.items():
        folder = write_rows(some, f"mrewardbench-{language}")
    results, scored = evaluated(folder, "mrewardbench")
    found, overall = results["results"], []
    for language, some in languages.items():
        right: dict[str, list[bool]] = {}
        for row in some:
            given = [rewards(row["prompt"], row[side]) for side in ("chosen", "rejected")]
            right.setdefault(row["subset"], []).append(given[0] > given[1])
        values = {name: sum(each) / len(each) for name, each in right.items()}
        for name, value in values.items():
            assert found[f"mrewardbench-{language}-{name}"]["accuracy,none"] == value
        weighted = sum(weights()[name] * value for name, value in values.items())
        overall.append(weighted / sum(weights()[name] for name in values))
        accuracy = found[f"mrewardbench-{language}"]["accuracy,none"]
        assert accuracy == pytest.approx(overall[-1])
    assert found["mrewardbench"]["accuracy,none"] == pytest.approx(sum(overall) / 2)
    assert "partial: 8 of " in found["mrewardbench"]["alias"]
    assert scored == 2 * sum(map(len, languages.values()))


def test_each_section_counts_once() -> None:
    """The authors' rule: a section's mean by RewardBench's counts, then the mean of sections."""
    assert weights()["math-prm"] == 1 / 2 and weights()["hep-go"] == 1 / 12
    assert weights()["donotanswer"] == 136 / 740 and weights()["llmbar-natural"] == 100 / 456
    assert len(weights()) == 23 and sum(weights().values()) == pytest.approx(4)


def test_names(tasks: Any) -> None:
    manager = tasks()
    languages = manager.match_tasks(["mrewardbench-*"])
    assert len(languages) == 23 and "mrewardbench-tur_Latn" in languages
    for name in languages:
        options = manager.task_index[name].cfg["dataset_kwargs"]
        assert f"mrewardbench-{options['hub_name']}" == name == options["benchmark"]
    assert sorted(manager.task_index["mrewardbench"].cfg["task"]) == languages


def test_a_comparison_knows_what_a_subset_counts() -> None:
    """The groups that the class makes have rules, too."""
    parts = {f"mrewardbench-tur_Latn-{name}": weight for name, weight in weights().items()}
    tree = {"mrewardbench": ["mrewardbench-tur_Latn"], "mrewardbench-tur_Latn": [*parts]}
    leaves = {name: LeafWeight(9, weight) for name, weight in parts.items()}
    found = leaf_weights("mrewardbench", "accuracy", tree, leaves, definitions(tree))
    assert found == {name: pytest.approx(weight / 4) for name, weight in parts.items()}


def test_a_row_that_does_not_fit_is_named(tasks: Any, write_rows: Write) -> None:
    bad = [*rows("tur_Latn", ("hep-go",)), {**rows("tur_Latn")[0], "subset": "songs"}]
    folder = write_rows(bad, "mrewardbench-tur_Latn")
    with pytest.raises(HarnessError, match="column subset is 'songs', expected one of Reward"):
        tasks(data_dir=folder).load(["mrewardbench-tur_Latn"])
    del bad[1]["subset"]
    folder = write_rows(bad, "mrewardbench-tur_Latn")
    with pytest.raises(HarnessError, match=r"row 2: no column subset \(found: id, prompt"):
        tasks(data_dir=folder).load(["mrewardbench-tur_Latn"])
