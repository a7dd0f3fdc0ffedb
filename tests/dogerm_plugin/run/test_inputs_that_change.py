"""Inputs that another program writes to while they are merged: no output, one line, no signal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import merging
import pytest
import torch
from mergekit.config import MergeConfiguration
from mergekit.io import tasks
from merging import Trio
from safetensors.torch import load_file

from dogerm_plugin.errors import MergeError
from dogerm_plugin.run.in_memory import Merges


def overwrite(file: Path) -> None:
    """As save_file does: the same inode, other bytes, the same size."""
    with file.open("r+b") as opened:
        opened.seek(-64, os.SEEK_END)
        opened.write(b"\0" * 64)


def replace(file: Path) -> None:
    """By one of the same size and time."""
    before = file.stat()
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "overwritten": (overwrite, "was written to"),
    "replaced": (replace, "was replaced"),
    "cut": (lambda file: os.truncate(file, file.stat().st_size // 2), "bytes before"),
    "emptied": (empty, "0 now"),
    "removed": (Path.unlink, "gone"),
}


def at_the_third_tensor(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Do something while a merge is at work."""
    original = tasks.SaveTensor.execute
    count = 0

    def execute(*args: object, **kwargs: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            change()
        original(*args, **kwargs)

    monkeypatch.setattr(tasks.SaveTensor, "execute", execute)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("kind", CHANGES)
def test_changed_in_the_middle(
    own_trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    change, words = CHANGES[kind]
    file = own_trio.lm / name
    at_the_third_tensor(monkeypatch, lambda: change(file))
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert f"{file}: changed while it was merged" in line and words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["overwritten", "cut"])
def test_a_pickle_changed_in_the_middle(
    own_trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = own_trio.lm / "pytorch_model.bin"
    torch.save(load_file(own_trio.lm / "model.safetensors"), file)
    (own_trio.lm / "model.safetensors").unlink()
    at_the_third_tensor(monkeypatch, lambda: CHANGES[kind][0](file))
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    assert f"{file}: changed while it was merged" in line


def test_what_no_merge_reads_may_change(
    own_trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("README.md", "trainer_state.json"):
        (own_trio.lm / name).write_text("{}")
    at_the_third_tensor(monkeypatch, lambda: (own_trio.lm / "README.md").write_text("more"))
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))


def test_the_head_that_was_read_is_not_read_over(own_trio: Trio, tmp_path: Path) -> None:
    """Tensors that are held keep their values while others are read."""
    config = MergeConfiguration.model_validate(merging.recipe(own_trio.rm, (own_trio.lm, 0.0)))
    held = dict(Merges(config).tensors(config))
    stored = load_file(own_trio.rm / "model.safetensors")
    assert held.keys() == stored.keys()
    assert all(torch.equal(held[name], stored[name]) for name in stored)


@pytest.mark.parametrize("kind", CHANGES)
def test_between_two_merges_in_memory(own_trio: Trio, kind: str) -> None:
    config = MergeConfiguration.model_validate(merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    merges = Merges(config)
    assert len(dict(merges.tensors(config)))
    CHANGES[kind][0](own_trio.lm / "model.safetensors")
    with pytest.raises(MergeError, match=r"lm/model\.safetensors: changed"):
        next(merges.tensors(config))


def test_during_a_merge_in_memory(own_trio: Trio) -> None:
    config = MergeConfiguration.model_validate(merging.recipe(own_trio.rm, (own_trio.lm, 0.5)))
    tensors = Merges(config).tensors(config)
    next(tensors)
    overwrite(own_trio.lm / "tokenizer.json")
    with pytest.raises(MergeError, match=r"tokenizer\.json: changed"):
        list(tensors)
