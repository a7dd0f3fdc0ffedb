"""Documents on disk behave like the list that they were."""

from __future__ import annotations

import copy
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.documents import Docs

ROWS = [{"prompt": f"é {number}", "labels": [number, None, 0.5]} for number in range(7)]


def test_a_sequence_that_knows_its_columns() -> None:
    docs = Docs(iter(ROWS))
    assert docs == ROWS and len(docs) == 7 and docs[-1] == ROWS[-1]
    assert docs[2:4] == ROWS[2:4] and docs.chosen([5, 0]) == [ROWS[5], ROWS[0]]
    assert list(docs.features) == ["prompt", "labels"]
    assert not Docs() and Docs().features == {}
    assert copy.deepcopy(docs) == ROWS
    with pytest.raises(IndexError):
        docs[7]


def test_a_reader_cannot_change_them() -> None:
    docs = Docs(ROWS)
    docs[0]["labels"].append(1)
    assert docs == ROWS


def test_threads_do_not_disturb_one_another() -> None:
    docs = Docs(ROWS)
    wrong: list[int] = []

    def read() -> None:
        for number in list(range(7)) * 200:
            if docs[number] != ROWS[number]:
                wrong.append(number)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Any:
        return open("/dev/full", "wb", buffering=0)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(HarnessError, match=r"No space left on device.*TMPDIR"):
        Docs(ROWS)


def test_no_room_for_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", none)
    with pytest.raises(HarnessError, match=r"No usable temporary .*; name a folder with TMPDIR"):
        Docs(iter(ROWS))
