"""Rows scored by workers: the file of one process, whatever they do first and whoever is lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from harness.models.row_files import chunks as chunk_module
from harness.models.row_files import run, workers
from harness.models.row_files.loading import Wanted
from harness.models.row_files.order import Order
from harness.rows.source import Source
from tests.harness.conftest import oracle
from tests.harness.models.row_files.test_finish import NUMBERED
from tests.harness.models.row_files.test_score import write


class Pool:
    """Jobs done here, the last ones first or in any order; Ray takes minutes to start."""

    ends_after: int | None = None
    done = 0

    def __init__(self, made: Any, address: str, count: int | None, **given: Any) -> None:
        self.size = count or 2
        self._worker = made.by(*made.given)
        self._jobs: list[Any] = []
        self._chance = random.Random(0)

    def submit(self, job: Any) -> None:
        self._jobs.append(job)

    def next(self) -> Any:
        if Pool.done == Pool.ends_after:
            raise KeyboardInterrupt
        Pool.done += 1
        self._chance.shuffle(self._jobs)
        return self._worker.run(self._jobs.pop())

    def close(self) -> None:
        pass


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Chunks of three of them, one of which has no answer, and a model that is none."""
    monkeypatch.setattr(chunk_module, "CONVERSATIONS", 3)
    monkeypatch.setattr(Wanted, "load", lambda self: oracle())
    monkeypatch.setattr(workers, "ActorPool", Pool)
    monkeypatch.setattr(Pool, "done", 0)
    made: list[dict[str, Any]] = [dict(row) for row in NUMBERED]
    made[4]["response"] = None
    return made


def test_the_order_of_the_rows_and_bad_ones_stay(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    source = Source(str(write(tmp_path / "rows.jsonl", rows)))
    one = Order(source, Wanted("none"), tmp_path / "one.jsonl")
    other = Order(source, Wanted("none"), tmp_path / "other.jsonl")
    alone, together = run.score(one, print), workers.score(other, "local", 3, print)
    assert alone == together and together.bad == 1
    assert one.output.read_bytes() == other.output.read_bytes()


def test_a_killed_run_goes_on_by_workers_or_without(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(str(write(tmp_path / "rows.jsonl", rows)))
    whole = Order(source, Wanted("none"), tmp_path / "whole.jsonl")
    run.score(whole, print)
    by_workers = Order(source, Wanted("none"), tmp_path / "out.jsonl")
    monkeypatch.setattr(Pool, "ends_after", 2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            workers.score(by_workers, "local", 2, print)
        monkeypatch.setattr(Pool, "ends_after", 3)
    assert len(list((tmp_path / "out.jsonl.partial").glob("0*.json"))) == 3
    run.score(by_workers, print)
    assert by_workers.output.read_bytes() == whole.output.read_bytes()
