"""Tests of the task configurations that are kept for the next process."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks import _index, _yaml_loader, manager

from harness import tasks
from harness.tasks.base import parsed_configs
from harness.tasks.base.parsed_configs import cache_folder, parsed_once

Index = dict[str, Any]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that takes young files, too."""
    folder = tmp_path / "cache" / "dogerm"
    monkeypatch.setenv(parsed_configs.ENVIRONMENT, str(folder))
    monkeypatch.setattr(parsed_configs, "SETTLED_NS", 0)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tasks that include one another, with what YAML can write and `marshal` must hold."""
    folder = tmp_path / "tasks"
    (folder / "deep").mkdir(parents=True)
    files = {
        "_base": "dataset_path: one\nprocess_docs: !function code.f\nmetadata: {version: 1.0}\n",
        "_both.yaml": "include: _base\nfewshot: &rows [1, true, null]\nagain: *rows\n",
        "a.yaml": "task: a\ninclude: [_base, deep/_other]\ntag: [x, y]\n1: int key\n",
        "b.yaml": "task: b\ninclude: _both.yaml\ntask_list: [a]\n",
        "deep/_other": "dataset_path: two\ntask_list: [a]\nchosen: !!set {k, l}\n",
        "deep/c.yaml": "task: c\ninclude: ../_both.yaml\n",
        "dated.yaml": "task: dated\nsince: 2024-07-01\n",
        "diamond.yaml": "task: diamond\ninclude: [_base, _both.yaml]\n",
        "circle.yaml": "task: circle\ninclude: circle.yaml\n",
        "broken.yaml": "task: [\n",
        "missing.yaml": "task: missing\ninclude: nowhere\n",
        "group.yaml": "group: g\ntask: [a, {task: b, num_fewshot: 2}]\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return folder


def build(folder: Path) -> Index:
    with parsed_once([folder]):
        index: Index = _index.TaskIndex.build([folder])
    return index


def as_lm_eval(*folders: Path) -> Index:
    index: Index = _index.TaskIndex.build(folders)
    return index


def text(index: Index) -> dict[str, str]:
    """Keys' order and types, too: to `==` 1 and True and 1.0 are one thing."""
    return {name: repr((entry.kind, entry.yaml_path, entry.cfg)) for name, entry in index.items()}


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that PyYAML is given."""
    names: list[str] = []
    load = yaml.load

    def counted(stream: Any, Loader: Any) -> Any:
        names.append(Path(stream.name).name)
        return load(stream, Loader)

    monkeypatch.setattr(yaml, "load", counted)
    return names


@pytest.mark.slow
def test_every_entry_is_lm_evals_own(kept: Path) -> None:
    """Of all that it has, and of ours: parsed, and from what was kept."""
    theirs = Path(str(manager.__file__)).parent
    own = as_lm_eval(theirs, tasks.FOLDER)
    assert len(own) > 10_000
    for _ in ("parsed", "kept"):
        index = manager.TaskIndex.build([theirs])
        assert index == own
        assert text(index) == text(own)
    assert len(list(kept.iterdir())) == 2


def test_what_was_kept_is_what_lm_eval_parses(folder: Path, kept: Path, parses: list[str]) -> None:
    own = as_lm_eval(folder)
    assert set(own) == {"a", "b", "c", "x", "y", "dated", "g"}
    parses.clear()
    assert text(build(folder)) == text(own)
    assert (parses.count("_base"), parses.count("_other")) == (1, 1)
    parses.clear()
    assert text(build(folder)) == text(own)
    nothing_to_keep = {"dated.yaml", "diamond.yaml", "circle.yaml", "broken.yaml", "missing.yaml"}
    assert set(parses) - {"_base", "_both.yaml"} == nothing_to_keep


def test_entries_are_fresh(folder: Path, kept: Path) -> None:
    own = text(as_lm_eval(folder))
    for _ in ("parsed", "kept", "kept"):
        index = build(folder)
        assert text(index) == own
        assert index["b"].cfg["fewshot"] is index["b"].cfg["again"]  # as the YAML says
        for entry in index.values():
            for value in (entry.cfg or {}).values():
                if isinstance(value, list | dict):
                    value.clear()


@pytest.mark.parametrize("same", [True, False], ids=["same length and time", "longer"])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("_base", "path: one", "path: six"),
        ("_both.yaml", "true", "null"),
        ("deep/_other", "path: two", "path: six"),
        ("b.yaml", "task: b", "task: d"),
        ("group.yaml", "num_fewshot: 2", "num_fewshot: 3"),
    ],
)
def test_a_changed_file_is_read_again(
    name: str, old: str, new: str, same: bool, folder: Path, kept: Path
) -> None:
    build(folder)
    before, file = as_lm_eval(folder), folder / name
    was = file.stat()
    file.write_text(file.read_text().replace(old, new) + ("" if same else "more: 1\n"))
    if same:
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
        assert (file.stat().st_mtime_ns, file.stat().st_size) == (was.st_mtime_ns, was.st_size)
    own = as_lm_eval(folder)
    assert text(own) != text(before)
    assert text(build(folder)) == text(own)
    assert text(build(folder)) == text(own)


def test_new_and_removed_files_are_seen(folder: Path, kept: Path) -> None:
    build(folder)
    (folder / "a.yaml").unlink()
    (folder / "new.yaml").write_text("task: new\ninclude: _base\n")
    (folder / "nowhere").write_text("dataset_path: found\n")
    index = build(folder)
    assert {"new", "missing"} <= set(index)
    assert "a" not in index
    assert text(index) == text(as_lm_eval(folder))


def test_a_file_that_may_still_change_is_not_kept(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsed_configs, "SETTLED_NS", 60 * 10**9)
    build(folder)
    assert not kept.exists()


def test_another_release_starts_anew(
    folder: Path, kept: Path, parses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(folder)
    parses.clear()
    monkeypatch.setattr(yaml, "__version__", "7.0")
    assert text(build(folder)) == text(as_lm_eval(folder))
    assert "a.yaml" in parses


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096, None])
def test_a_damaged_file_is_not_used(damage: bytes | None, folder: Path, kept: Path) -> None:
    own = text(build(folder))
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-7] if damage is None else damage)
    assert text(build(folder)) == own
    assert text(build(folder)) == own
    (file,) = kept.iterdir()
    assert len(file.read_bytes()) == len(whole)


def test_where_nothing_can_be_written_nothing_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsed_configs, "SETTLED_NS", 0)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        monkeypatch.setenv(parsed_configs.ENVIRONMENT, str(place))
        assert text(build(folder)) == text(as_lm_eval(folder))
    assert (tmp_path / "file").read_text() == ""


def test_it_can_be_switched_off(
    folder: Path, tmp_path: Path, parses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsed_configs, "SETTLED_NS", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv(parsed_configs.ENVIRONMENT, "0")
    for _ in range(2):
        parses.clear()
        assert text(build(folder)) == text(as_lm_eval(folder))
        assert "a.yaml" in parses
    assert not (tmp_path / "xdg").exists()


def test_the_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(parsed_configs.ENVIRONMENT, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache/dogerm"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification has ignored
    assert cache_folder() == tmp_path / ".cache/dogerm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/dogerm"
    monkeypatch.setenv(parsed_configs.ENVIRONMENT, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_several_may_write_at_once(folder: Path, kept: Path, parses: list[str]) -> None:
    own = text(as_lm_eval(folder))
    with ThreadPoolExecutor(8) as pool:
        assert all(text(index) == own for index in pool.map(build, [folder] * 32))
    assert len(list(kept.iterdir())) == 1
    parses.clear()
    assert text(build(folder)) == own
    assert "a.yaml" not in parses


def test_other_folders_and_other_calls_are_as_ever(
    folder: Path, tmp_path: Path, kept: Path, parses: list[str]
) -> None:
    users = tmp_path / "users"
    users.mkdir()
    (users / "u.yaml").write_text(f"task: u\ninclude: {folder}/b.yaml\n")
    with parsed_once([folder]):
        for _ in range(2):
            assert text(_index.TaskIndex.build([users])) == text(as_lm_eval(users))
        assert "include" in _yaml_loader.load_yaml(
            folder / "b.yaml", resolve_func=False, recursive=False
        )
    assert parses.count("u.yaml") == 4
    assert not kept.exists()
