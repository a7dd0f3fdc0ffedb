"""Whose folder it is, and where to go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.training.folder import checkpoints, claim, fingerprint, remove_checkpoints

SETTINGS = {"model": "m", "training": {"epochs": 1.0, "seed": 0}}


def test_fingerprint_sees_settings_and_data() -> None:
    """And the kind of training."""
    marks = {
        fingerprint("sft", SETTINGS, [[1, 2]]),
        fingerprint("reward", SETTINGS, [[1, 2]]),
        fingerprint("sft", {**SETTINGS, "model": "n"}, [[1, 2]]),
        fingerprint("sft", SETTINGS, [[1], [2]]),
    }
    assert len(marks) == 4
    assert fingerprint("sft", SETTINGS, [[1, 2]]) in marks


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    """By number, not by name, and not the one that a kill left half-written."""
    out = tmp_path / "out"
    assert claim(out, SETTINGS, "mark") is None
    assert claim(out, SETTINGS, "mark") is None  # killed before its first checkpoint
    for step, state in (
        (5, "{}\n"),
        (9, "{}\n"),
        (10, None),
        (11, ""),
        (12, '{"epoch": 1.'),
        (13, "[]"),
    ):
        folder = checkpoints(out) / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").touch()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert claim(out, SETTINGS, "mark") == checkpoints(out) / "checkpoint-9"
    remove_checkpoints(out)
    assert not checkpoints(out).exists()


def test_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    """A changed setting by its name; otherwise it was the data."""
    out = tmp_path / "out"
    claim(out, SETTINGS, "mark")
    changed = {"model": "m", "training": {"epochs": 2.0, "seed": 0}}
    with pytest.raises(HarnessError, match=r"`training.epochs` was 1.0, is 2.0"):
        claim(out, changed, "another")
    with pytest.raises(HarnessError, match="other data"):
        claim(out, SETTINGS, "another")


def test_finished_foreign_and_damaged_folders_are_left_alone(tmp_path: Path) -> None:
    """Nothing in them changes."""
    done = tmp_path / "done"
    claim(done, SETTINGS, "mark")
    (done / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(HarnessError, match="finished"):
        claim(done, SETTINGS, "mark")
    assert (done / "adapter_model.safetensors").read_bytes() == b"x"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(HarnessError, match="not empty"):
        claim(foreign, SETTINGS, "mark")
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    (done / "run.json").write_text("{")
    with pytest.raises(HarnessError, match="damaged"):
        claim(done, SETTINGS, "mark")
