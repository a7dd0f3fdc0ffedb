"""The folder of measurements: whole or not there, never of something else, one run at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.study.store import Store, check_folder, told_if_full

A, B = {"recipe": "a", "version": "1"}, {"recipe": "b", "version": "1"}


def write(store: Store, place: str = "0.5/select", data: str = "select 1") -> Path:
    with store.writing(place, "task", data) as folder:
        (folder / "samples.jsonl").write_text("1\n", "utf-8")
    return store.path(place, "task")


def opened(folder: Path, made: dict[str, str]) -> Store:
    store = Store(folder, made)
    store.close()
    return store


def test_a_measurement_is_there_when_it_is_complete(tmp_path: Path) -> None:
    store = Store(tmp_path / "out", A)
    assert not store.has("0.5/select", "task", "select 1")
    with store.writing("0.5/select", "task", "select 1") as folder:
        (folder / "samples.jsonl").write_text("1\n", "utf-8")
        assert not store.has("0.5/select", "task", "select 1")
    assert store.has("0.5/select", "task", "select 1")
    assert not store.has("0.5/select", "task", "select 2")
    assert not store.has("0.5/report", "task", "select 1")
    assert store.outdated(["0/select", "0.5/select"], "task", "2")
    assert not store.outdated(["0/select", "0.5/select"], "task", "1")
    assert not store.outdated(["0/select", "0.5/report"], "task", "2")


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path, A)
    path = write(store)
    with (
        pytest.raises(KeyboardInterrupt),
        store.writing("0.5/select", "task", "select 2") as folder,
    ):
        (folder / "samples.jsonl").write_text("half", "utf-8")
        raise KeyboardInterrupt
    assert (path / "samples.jsonl").read_text("utf-8") == "1\n"
    assert store.has("0.5/select", "task", "select 1")
    assert [one.name for one in store.results.iterdir() if one.name.startswith(".")] == []


def test_what_a_killed_run_left_half_done_is_removed(tmp_path: Path) -> None:
    store = opened(tmp_path, A)
    (store.results / ".partial-x").mkdir()
    (store.results / ".partial-x/made-with.json").write_text("{}", "utf-8")
    store = opened(tmp_path, A)
    assert [one.name for one in store.results.iterdir()] == ["made-with.json"]


@pytest.mark.parametrize("lost", ["samples.jsonl", "made-with.json"])
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_damaged_measurement_is_none(tmp_path: Path, lost: str, how: str) -> None:
    store = Store(tmp_path, A)
    file = write(store) / lost
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    assert not store.has("0.5/select", "task", "select 1")


def test_what_was_made_otherwise_is_set_aside_and_taken_up_again(tmp_path: Path) -> None:
    """Nothing that was measured is lost by a slip in the command, and nothing is mixed up."""
    write(first := Store(tmp_path, A))
    first.close()
    second = Store(tmp_path, B)
    assert second.changed == ["recipe: a -> b"]
    assert second.news() == [
        f"earlier results are set aside in {second.aside}, as they were made with something else: "
        "recipe: a -> b"
    ]
    assert not second.has("0.5/select", "task", "select 1")
    write(second, "1/select")
    second.close()
    third = opened(tmp_path, A)
    assert third.has("0.5/select", "task", "select 1")
    assert not third.has("1/select", "task", "select 1")
    assert third.taken_up
    assert "fit again" in third.news()[-1]
    assert opened(tmp_path, A).news() == []
    assert opened(tmp_path, B).has("1/select", "task", "select 1")


def test_results_of_unknown_origin_are_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path, A)
    write(store)
    store.close()
    (tmp_path / "results/made-with.json").write_text("{", "utf-8")
    store = opened(tmp_path, A)
    assert store.changed == ["their made-with.json can't be read"]
    assert not store.has("0.5/select", "task", "select 1")


def test_nothing_is_said_where_nothing_was_measured(tmp_path: Path) -> None:
    opened(tmp_path, A)
    assert opened(tmp_path, B).news() == []
    assert json.loads((tmp_path / "results/made-with.json").read_text("utf-8")) == B


def test_what_has_changed_is_said_in_a_line_that_can_be_read(tmp_path: Path) -> None:
    before = {f"model file {n}": "0" for n in range(9)} | {"long": "x" * 200, "old": "1"}
    write(store := Store(tmp_path, before))
    store.close()
    now = {**before, **{f"model file {n}": "1" for n in range(9)}, "long": "y" * 200, "new": "1"}
    del now["old"]
    (line,) = opened(tmp_path, now).news()
    assert "long has changed; model file 0: 0 -> 1;" in line
    assert line.endswith("model file 3: 0 -> 1; and 7 more")


def test_nobody_else_may_work_there(tmp_path: Path) -> None:
    store = Store(tmp_path, A)
    message = "another run works in this folder; wait for it, or name another with -o"
    for attempt in (lambda: Store(tmp_path, A), lambda: check_folder(tmp_path)):
        with pytest.raises(HarnessError, match=message):
            attempt()
    store.close()
    check_folder(tmp_path)
    opened(tmp_path, A)


def test_a_folder_of_other_things_is_not_worked_in(tmp_path: Path) -> None:
    """An empty one is, and one that an earlier run has left, however early it ended."""
    check_folder(tmp_path / "new")
    (tmp_path / ".hidden").touch()
    (tmp_path / "results").mkdir()
    check_folder(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(HarnessError) as error:
        check_folder(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds other things than results of this command (thesis.tex): name a new or "
        "empty folder with -o"
    )
    opened(tmp_path / "out", A)
    (tmp_path / "out/notes.txt").touch()
    check_folder(tmp_path / "out")


def test_only_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), told_if_full(tmp_path):
        (tmp_path / "nothing").read_text("utf-8")
    with pytest.raises(HarnessError, match=r"^other$"), told_if_full(tmp_path):
        raise HarnessError("other")
    with (
        pytest.raises(HarnessError, match="No space left on device; what is finished"),
        told_if_full(tmp_path),
        open("/dev/full", "w", encoding="utf-8") as full,
    ):
        full.write("a")
