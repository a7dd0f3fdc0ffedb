"""M-RewardBench: RewardBench's sections in each language, and the mean over languages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.compare.groups import LeafWeight, definitions, leaf_weights
from harness.errors import HarnessError
from harness.tasks.mrewardbench.task import sections
from tests.harness.conftest import preference_rows

Write = Callable[..., Path]

SECTIONS = {
    "alpacaeval-easy": "chat",
    "mt-bench-hard": "chat_hard",
    "donotanswer": "safety",
    "math-prm": "math",
    "hep-go": "code",
    "hep-java": "code",
}


def rows(language: str, subsets: dict[str, str] = SECTIONS) -> list[dict[str, Any]]:
    """Rows of the Hub's schema."""
    made = []
    for at, subset in enumerate(subsets):
        for row in preference_rows(subset, 2 + at % 3, start=10 * at):
            about = {"language": language, "category": "Chat", "source": "a translator"}
            made.append({**row, "prompt": f"{language}: {row['prompt']}", **about})
    return made


def test_the_mean_of_languages_of_sections(
    evaluated: Callable[..., Any], rewards: Callable[..., float], write_rows: Write
) -> None:
    """Reasoning is the mean of maths and code, whatever their rows; absent languages are told."""
    languages = {
        "tur_Latn": rows("tur_Latn"),
        "deu_Latn": rows("deu_Latn", {"donotanswer": "", "hep-go": ""}),
    }
    for language, some in languages.items():
        folder = write_rows(some, f"mrewardbench-{language}")
    results, scored = evaluated(folder, "mrewardbench")
    found, overall = results["results"], []
    for language, some in languages.items():
        right: dict[str, list[bool]] = {}
        for row in some:
            given = [rewards(row["prompt"], row[side]) for side in ("chosen", "rejected")]
            right.setdefault(SECTIONS[row["subset"]], []).append(given[0] > given[1])
        means = {section: sum(values) / len(values) for section, values in right.items()}
        if "math" in means:
            means["reasoning"] = (means.pop("math") + means.pop("code")) / 2
            expected = sum(means.values()) / 4
        else:  # half a section of code beside a whole one of safety
            expected = (means["safety"] + means["code"] / 2) / 1.5
        overall.append(expected)
        assert found[f"mrewardbench-{language}"]["accuracy,none"] == pytest.approx(expected)
    assert found["mrewardbench"]["accuracy,none"] == pytest.approx(sum(overall) / 2)
    assert "partial: 7 of " in found["mrewardbench"]["alias"]
    assert scored == 2 * sum(map(len, languages.values()))
    assert results["n-samples"]["mrewardbench-tur_Latn-code"]["effective"] == 3 + 4


def test_names_and_sections(tasks: Any) -> None:
    manager = tasks()
    languages = manager.match_tasks(["mrewardbench-*"])
    assert len(languages) == 23 and "mrewardbench-tur_Latn" in languages
    for name in languages:
        options = manager.task_index[name].cfg["dataset_kwargs"]
        assert f"mrewardbench-{options['hub_name']}" == name == options["benchmark"]
    assert sorted(manager.task_index["mrewardbench"].cfg["task"]) == languages
    assert len(sections()) == 23 and set(sections().values()) == {
        *("chat", "chat-hard", "safety", "math", "code")
    }
    assert sections()["llmbar-natural"] == "chat-hard"


def test_a_comparison_knows_what_a_section_counts() -> None:
    """The groups that the class makes have rules, too."""
    parts = {"chat": 1, "chat-hard": 1, "safety": 1, "math": 0.5, "code": 0.5}
    tree = {"mrewardbench": ["mrewardbench-tur_Latn"]}
    tree["mrewardbench-tur_Latn"] = [f"mrewardbench-tur_Latn-{part}" for part in parts]
    leaves = {f"mrewardbench-tur_Latn-{p}": LeafWeight(9, w) for p, w in parts.items()}
    found = leaf_weights("mrewardbench", "accuracy", tree, leaves, definitions(tree))
    expected = {f"mrewardbench-tur_Latn-{p}": pytest.approx(w / 4) for p, w in parts.items()}
    assert found == expected


def test_a_row_that_does_not_fit_is_named(tasks: Any, write_rows: Write) -> None:
    bad = [*rows("tur_Latn", {"hep-go": ""}), {**rows("tur_Latn")[0], "subset": "songs"}]
    folder = write_rows(bad, "mrewardbench-tur_Latn")
    with pytest.raises(HarnessError, match="column subset is 'songs', expected one of Reward"):
        tasks(data_dir=folder).load(["mrewardbench-tur_Latn"])
    del bad[1]["subset"]
    folder = write_rows(bad, "mrewardbench-tur_Latn")
    with pytest.raises(HarnessError, match=r"row 2: no column subset \(found: id, prompt"):
        tasks(data_dir=folder).load(["mrewardbench-tur_Latn"])
