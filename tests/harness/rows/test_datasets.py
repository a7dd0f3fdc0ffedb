"""Rows from files and from the Hub, and what is said about bad ones."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.datasets import PREFERENCE, load
from tests.harness.conftest import preference_rows

ROWS = preference_rows("math-prm", 3) + preference_rows("hep-go", 2, start=3)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_one_file_in_any_format(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"rewardbench{ending}", ROWS)
    loaded = load("rewardbench", PREFERENCE, data_dir=str(tmp_path))
    assert loaded.rows == ROWS


def test_a_folder_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rewardbench" / "a.jsonl", ROWS[:3])
    write(tmp_path / "rewardbench" / "b.parquet", ROWS[3:])
    monkeypatch.setenv("DOGERM_DATA_DIR", str(tmp_path))
    assert load("rewardbench", PREFERENCE).rows == ROWS


def test_a_rule_of_the_schema_names_the_row(tmp_path: Path) -> None:
    def rule(row: Any) -> None:
        if row["id"] > 1:
            raise HarnessError(f"id {row['id']} is too large")

    write(tmp_path / "rewardbench.jsonl", ROWS)
    schema = dataclasses.replace(PREFERENCE, rule=rule)
    with pytest.raises(HarnessError, match=r"rewardbench\.jsonl, row 3: id 2 is too large"):
        load("rewardbench", schema, data_dir=str(tmp_path))


def test_rows_are_read_once_until_the_file_changes(tmp_path: Path) -> None:
    write(tmp_path / "rewardbench.jsonl", ROWS)
    first = load("rewardbench", PREFERENCE, data_dir=str(tmp_path))
    assert load("rewardbench", PREFERENCE, data_dir=str(tmp_path)) is first
    write(tmp_path / "rewardbench.jsonl", ROWS[:1])
    assert len(load("rewardbench", PREFERENCE, data_dir=str(tmp_path)).rows) == 1


def test_a_local_file_comes_before_the_package_and_that_before_the_hub(tmp_path: Path) -> None:
    packaged = tmp_path / "shipped.jsonl"
    write(packaged, ROWS[:2])
    write(tmp_path / "local" / "minipref.jsonl", ROWS[:1])
    options: dict[str, Any] = {"hub_id": "some/one", "packaged": packaged}
    assert len(load("minipref", PREFERENCE, data_dir=str(tmp_path / "local"), **options).rows) == 1
    write(tmp_path / "other" / "rewardbench.jsonl", ROWS)
    assert len(load("minipref", PREFERENCE, data_dir=str(tmp_path / "other"), **options).rows) == 2


def test_a_missing_file_beside_a_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"there is no file .*/mine\.jsonl; .*--include_path"):
        load("mine", PREFERENCE, packaged=tmp_path / "mine.jsonl")


def test_the_hub_is_asked_for_its_own_id_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets as hub

    asked: list[tuple[str, str | None, str]] = []

    def load_dataset(path: str, name: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((path, name, split))
        return ROWS

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "_loaded", {})
    loaded = load("rewardbench", PREFERENCE, hub_id="allenai/reward-bench", split="filtered")
    assert loaded.rows == ROWS and asked == [("allenai/reward-bench", None, "filtered")]
    assert loaded.source == "allenai/reward-bench (filtered) on the Hub"


def test_without_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets as hub

    def load_dataset(path: str, name: str | None, *, split: str) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more lines")

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "_loaded", {})
    with pytest.raises(HarnessError) as caught:
        load("rewardbench", PREFERENCE, hub_id="allenai/reward-bench", split="filtered")
    message = str(caught.value)
    assert "cannot load allenai/reward-bench (split filtered)" in message
    assert "Couldn't reach the Hub;" in message and "\n" not in message
    assert (
        "rewardbench.jsonl (or rewardbench/filtered.jsonl) in a folder and name the folder"
        in message
    )


def changed(**columns: Any) -> list[dict[str, Any]]:
    return [ROWS[0], {**ROWS[1], **columns}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{k: v for k, v in ROWS[0].items() if k != "chosen"}],
            r"row 1: no column chosen \(found: id, .*; expected: prompt, chosen, .*\)",
        ),
        (changed(chosen=None), "row 2: column chosen is NoneType 'None', expected str"),
        (changed(prompt=7), "row 2: column prompt is int '7', expected str or list"),
        (changed(prompt=[{"role": "user"}]), "row 2, column prompt: turn 1 must be"),
        ([], "holds no rows; expected prompt, chosen, rejected, subset"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path: Path, rows: Any, message: str) -> None:
    write(tmp_path / "rewardbench.jsonl", rows)
    with pytest.raises(HarnessError, match=message) as caught:
        load("rewardbench", PREFERENCE, data_dir=str(tmp_path))
    assert str(tmp_path / "rewardbench.jsonl") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_responses_are_scored_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "rewardbench.jsonl", changed(rejected=" "))
    with caplog.at_level(logging.WARNING):
        assert len(load("rewardbench", PREFERENCE, data_dir=str(tmp_path)).rows) == 2
    assert "1 rows hold an empty response, the first is row 2" in caplog.text


def test_a_missing_or_ambiguous_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="does not exist"):
        load("rewardbench", PREFERENCE, data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(HarnessError, match=r"has no mine\.jsonl"):
        load("mine", PREFERENCE, data_dir=str(tmp_path))
    write(tmp_path / "rewardbench.jsonl", ROWS)
    write(tmp_path / "rewardbench" / "a.jsonl", ROWS)
    with pytest.raises(HarnessError, match="more than once"):
        load("rewardbench", PREFERENCE, data_dir=str(tmp_path))


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    """A user who names a folder means its rows: the Hub's would be scored in their place."""
    with pytest.raises(HarnessError, match=r"has no rewardbench\.jsonl"):
        datasets.load(
            "rewardbench",
            datasets.PREFERENCE,
            hub_id="allenai/reward-bench",
            split="filtered",
            data_dir=str(tmp_path),
        )
