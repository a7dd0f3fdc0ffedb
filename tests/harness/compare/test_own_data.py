"""Groups that a user's own preference set makes of its sections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.compare.comparison import compare_runs
from harness.runs.results import find_run
from tests.harness.compare.conftest import dogerm, evaluate, reader
from tests.harness.compare.test_compare import by_length
from tests.harness.test_command import results


def own(folder: Path, task: str = "harness.own_data.OwnPreferences") -> Path:
    """A folder with a set of 8 and 2 pairs on which B is right and A not always."""
    folder.mkdir()
    rows = [
        {
            "prompt": f"{topic} {n}",
            "chosen": f"reward {n % 2} 1",
            "rejected": "reward 0 0",
            "topic": topic,
        }
        for topic, count in (("sums", 8), ("small talk", 2))
        for n in range(count)
    ]
    (folder / "my_prefs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "my_prefs.yaml").write_text(
        f"task: my_prefs\nclass: !function {task}\ndataset_path: my_prefs.jsonl\n"
        "columns: {section: topic}\n"
    )
    return folder


def test_a_users_own_group_is_compared_without_its_yaml(tmp_path: Path) -> None:
    folder = own(tmp_path / "own")
    a, b = (
        evaluate(tmp_path, ["my_prefs"], reader(i), tmp_path / f"{i}", [folder]) for i in (1, 2)
    )
    (folder / "my_prefs.yaml").unlink()
    report = compare_runs(find_run(a), find_run(b), resamples=100)
    group = report.sections[0]
    assert not report.notes and group.name == "my_prefs" and group.is_group
    assert group.weights == pytest.approx({"my_prefs-sums": 0.8, "my_prefs-small-talk": 0.2})
    assert (group.a, group.b) == (0.5, 1.0)
    for folder, score in ((a, 0.5), (b, 1.0)):
        assert results(folder)["results"]["my_prefs"]["accuracy,none"] == score


def test_a_subclass_wants_its_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own(tmp_path / "own", "mine_own.Mine")
    (folder / "mine_own.py").write_text(
        "from harness.own_data import OwnPreferences\n\n\nclass Mine(OwnPreferences): ...\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    a, b = (
        evaluate(tmp_path, ["my_prefs"], reader(i), tmp_path / f"{i}", [folder], limit=4)
        for i in (1, 2)
    )
    report = compare_runs(find_run(a), find_run(b), resamples=100, include_path=[folder])
    assert report.sections[0].name == "my_prefs" and not report.notes


def test_the_packaged_example(tmp_path: Path) -> None:
    a, b = (
        evaluate(tmp_path, ["preference-example"], by_length(sign), tmp_path / f"{sign}")
        for sign in (1, -1)
    )
    shown = dogerm(a, b)
    assert "\npreference-example   " in shown and "Note:" not in shown
