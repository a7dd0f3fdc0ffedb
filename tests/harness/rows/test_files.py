"""Files as people have them: packed, tables, damaged, hostile."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.local_files import ending, local_files, numbered, read
from harness.rows.section_name import section_name
from harness.training.config import Source
from harness.training.rows import PAIR, read_rows
from tests.harness.conftest import preference_rows

ROWS = [
    {"prompt": f'What is\n{n} + 1, "please"?', "chosen": f"{n + 1}", "rejected": f"é {n}"}
    for n in range(3)
]


def packed(path: Path, data: bytes) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(data))
    elif path.suffix == ".zst":
        import pyarrow

        with pyarrow.output_stream(str(path), compression="zstd") as file:
            file.write(data)
    else:
        path.write_bytes(data)
    return path


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(folder: Path, delimiter: str = ",") -> bytes:
    with (folder / "written").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ROWS[0], delimiter=delimiter)
        table.writeheader()
        table.writerows(ROWS)
    return (folder / "written").read_bytes()


CONTENT: dict[str, Callable[[Path], bytes]] = {
    "a.jsonl.gz": lambda folder: as_jsonl(ROWS),
    "a.jsonl.zst": lambda folder: as_jsonl(ROWS),
    "a.json.gz": lambda folder: json.dumps(ROWS).encode(),
    "a.json.zst": lambda folder: b"\xef\xbb\xbf " + as_jsonl(ROWS),
    "a.csv": as_csv,
    "b.csv": lambda folder: b"\xef\xbb\xbf" + as_csv(folder, ";"),
    "a.csv.gz": lambda folder: as_csv(folder, "\t"),
    "a.csv.zst": as_csv,
    "crlf.jsonl": lambda folder: b"\xef\xbb\xbf" + as_jsonl(ROWS).replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("name", CONTENT)
def test_a_file_is_read_alike_everywhere(name: str, tmp_path: Path, own_set: Any) -> None:
    """By tasks, by training, and as a benchmark's local file."""
    from lm_eval.tasks import TaskManager

    folder = tmp_path / "own"
    folder.mkdir()
    packed(folder / name, CONTENT[name](tmp_path))
    assert list(read(folder / name)) == ROWS
    assert read_rows(Source(file=name), PAIR, folder) == ROWS
    yaml = own_set([], file=name)
    manager = TaskManager(include_path=str(yaml.parent), include_defaults=False)
    docs = manager.load(["p"])["tasks"]["p"].eval_docs
    assert [{key: doc[key] for key in ROWS[0]} for doc in docs] == ROWS


def test_a_packed_file_replaces_a_benchmark(tmp_path: Path) -> None:
    rows = preference_rows("math-prm", 3)
    packed(tmp_path / "rewardbench.jsonl.zst", as_jsonl(rows))
    loaded = datasets.load("rewardbench", datasets.PREFERENCE, data_dir=str(tmp_path))
    assert loaded.rows == rows
    (tmp_path / "judgebench").mkdir()
    for split in ("gpt", "claude"):
        packed(tmp_path / "judgebench" / f"{split}-00000-of-00001.jsonl.gz", as_jsonl(rows))
    (found,) = local_files("judgebench", tmp_path, "gpt")
    assert found.name.startswith("gpt-") and ending(found) == ".jsonl.gz"
    packed(tmp_path / "rewardbench.csv", b"prompt\n")
    with pytest.raises(HarnessError, match="there more than once"):
        local_files("rewardbench", tmp_path)


DEEP = b"[" * 100_000 + b"]" * 100_000
BAD = {
    "cut.jsonl.gz": (gzip.compress(as_jsonl(ROWS))[:-9], "cut.jsonl.gz can't be unpacked: .* cut"),
    "none.csv.gz": (b"prompt,chosen", "none.csv.gz can't be unpacked"),
    "none.jsonl.zst": (b"\x28\xb5\x2f\xfd12", "none.jsonl.zst can't be unpacked"),
    "digits.jsonl": (b'{"a": 1}\n{"a": ' + b"9" * 5000 + b"}", "line 2 can't be read: .*4300"),
    "deep.jsonl": (b'{"a": ' + DEEP + b"}", "line 1 is not a row: it is nested too deep"),
    "deep.json": (b"[" + DEEP + b"]", "deep.json is not a row: it is nested too deep"),
    "twice.jsonl": (b'{"a": 1}\n{"b": 1, "b": 2}', "line 2: the key 'b' is there twice"),
    "nul.jsonl": (b'{"a": "\x00"}', "nul.jsonl, line 1 is not JSON: Invalid control character"),
    "zeros.jsonl": (b'{"a": 1}\n' + b"\x00" * 9, "zeros.jsonl, line 2 is not JSON"),
    "wide.jsonl": ('{"a": 1}'.encode("utf-16"), "wide.jsonl, line 1 is not UTF-8 text"),
    "few.csv": (b"a,b\n1,2\n3\n", "few.csv, line 3 has 1 cells, the heading has 2; quote"),
    "many.csv": (b"a,b\n1,2,3\n", "many.csv, line 2 has 3 cells"),
    "open.csv": (b'a,b\n1,"2\n', "open.csv, line 2 is not CSV: unexpected end of data"),
    "double.csv": (b"a,a\n1,2\n", "double.csv: the column 'a' is there twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HarnessError, match=message) as caught:
        list(read(tmp_path / name))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    for name, message in (
        ("pipe.jsonl", "is a pipe or device, expected a file"),
        ("folder.jsonl", "is a folder, expected a file"),
        ("none.jsonl", "No such file"),
    ):
        with pytest.raises(HarnessError, match=f"{name}.*{message}"):
            list(read(tmp_path / name))


def test_numbers_that_are_none_do_no_harm_where_they_are_not_used(tmp_path: Path) -> None:
    """Python's own json writes them."""
    (tmp_path / "a.jsonl").write_text('{"a": "x", "score": NaN}')
    assert next(read(tmp_path / "a.jsonl"))["a"] == "x"


def test_rows_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    assert [place for place, _ in numbered(tmp_path / "a.jsonl")] == ["line 1", "line 3"]
    (tmp_path / "a.csv").write_text('a,b\n"x\ny",1\nz,2\n')
    assert [place for place, _ in numbered(tmp_path / "a.csv")] == ["line 3", "line 4"]


@pytest.mark.parametrize(
    ("value", "name"), [(1, "1"), (1.0, "1.0"), (0.5, "0.5"), (True, "true"), ("a b", "a b")]
)
def test_a_section_of_any_name(value: Any, name: str) -> None:
    assert section_name(value, "level") == name


def test_sections_of_numbers_are_leaves(own_set: Callable[..., Path]) -> None:
    from lm_eval.tasks import TaskManager

    rows = [{**ROWS[0], "level": level} for level in (1, 2.5, False, 1)]
    yaml = own_set(rows, "columns: {section: level}")
    manager = TaskManager(include_path=str(yaml.parent), include_defaults=False)
    assert set(manager.load(["p"])["tasks"]) == {"p-1", "p-2.5", "p-false"}


def test_broken_text_in_a_benchmarks_rows_is_named(tmp_path: Path) -> None:
    rows = preference_rows("math-prm", 2)
    rows[1]["rejected"] = "cut \ud83d"
    (tmp_path / "rewardbench.jsonl").write_bytes(as_jsonl(rows))
    with pytest.raises(HarnessError, match=r"row 2: column rejected holds half a surrogate pair"):
        datasets.load("rewardbench", datasets.PREFERENCE, data_dir=str(tmp_path))
