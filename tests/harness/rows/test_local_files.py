"""Which files a folder has for a data set, and what is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.rows.local_files import local_files, read
from tests.harness.conftest import preference_rows
from tests.harness.rows.test_datasets import write

ROWS = preference_rows("math-prm", 3)


def test_a_split_is_read_from_the_files_named_after_it(tmp_path: Path) -> None:
    """As the Hub's own repositories name them."""
    for name in ("gpt-00000-of-00001.parquet", "claude.jsonl", "gpt-4.jsonl.part"):
        write(tmp_path / "judgebench" / name, ROWS)
    assert [path.name for path in local_files("judgebench", tmp_path, "claude")] == ["claude.jsonl"]
    found = [path.name for path in local_files("judgebench", tmp_path, "gpt")]
    assert found == ["gpt-00000-of-00001.parquet"]


def test_json_lines_under_a_json_name(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\ufeff" + "\n".join(json.dumps(row) for row in ROWS))
    assert list(read(tmp_path / "x.json")) == ROWS


def test_damaged_files_are_named_with_the_line(tmp_path: Path) -> None:
    cases = {
        "cut.jsonl": (b'{"a": 1}\n{"a": ', "cut.jsonl, line 2 is not JSON"),
        "list.jsonl": (b"[1]\n", "line 1 is list, expected an object"),
        "cut.json": (b'[{"a": 1}, ', "cut.json is not JSON"),
        "latin.jsonl": (b'{"a": "\xe9"}', "latin.jsonl, line 1 is not UTF-8"),
        "no.parquet": (b"PAR1 nothing", "no.parquet cannot be read as Parquet"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HarnessError, match=message):
            list(read(tmp_path / name))


def test_other_splits_are_not_taken_for_the_one_asked_for(tmp_path: Path) -> None:
    """A train file scored as the test set would look like a result."""
    for benchmark, name in (("hh", "train.jsonl"), ("rewardbench", "raw-00000-of-00001.parquet")):
        write(tmp_path / benchmark / name, ROWS)
        with pytest.raises(HarnessError, match=rf"no file of split test \(it has: {name}\)"):
            local_files(benchmark, tmp_path, "test")
    write(tmp_path / "mine" / "a.jsonl", ROWS)
    write(tmp_path / "mine" / "b.parquet", ROWS)
    assert len(local_files("mine", tmp_path, "test")) == 2
