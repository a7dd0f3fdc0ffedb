"""Whose folder it is, and where to go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.training.folder import (
    FinishedError,
    checkpoints,
    claim,
    made_with,
    remove_checkpoints,
    to_go_on_from,
)

SETTINGS = {"model": "m", "training": {"epochs": 1.0, "seed": 0}}
MADE_WITH = {"training data": "a", "version of torch": "2.1"}


def test_a_run_is_known_by_its_loop_its_data_and_its_versions() -> None:
    """Settings are kept beside these."""
    loops = "harness.training.sft", "harness.training.reward"
    known = [made_with(loop, ids) for loop in loops for ids in ([[1, 2]], [[1], [2]])]
    assert all(known.count(one) == 1 for one in known)
    assert made_with(loops[0], [[1, 2]]) == known[0]
    assert {"version of torch", "code of harness/training/sft.py"} <= set(known[0])


def test_the_newest_whole_checkpoint_is_taken(tmp_path: Path) -> None:
    """By number, not by name, and not the one that a kill left half-written."""
    out = tmp_path / "out"
    claim(out, SETTINGS, MADE_WITH)
    claim(out, SETTINGS, MADE_WITH)  # killed before its first checkpoint
    assert to_go_on_from(out) is None
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
    claim(out, SETTINGS, MADE_WITH)
    assert to_go_on_from(out) == checkpoints(out) / "checkpoint-9"
    remove_checkpoints(out)
    assert not checkpoints(out).exists()


def test_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    """A changed setting by its name; otherwise it was the data, or what trains."""
    out = tmp_path / "out"
    claim(out, SETTINGS, MADE_WITH)
    changed = {"model": "m", "training": {"epochs": 2.0, "seed": 0}}
    other = MADE_WITH | {"training data": "b"}
    for now in (MADE_WITH, other):
        with pytest.raises(HarnessError, match=r"`training.epochs` was 1.0, is 2.0"):
            claim(out, changed, now)
    with pytest.raises(HarnessError, match=r"\(other data\)"):
        claim(out, SETTINGS, other)
    with pytest.raises(HarnessError, match=r"\(version of torch: 2\.1 -> 2\.2\)"):
        claim(out, SETTINGS, MADE_WITH | {"version of torch": "2.2"})
    (out / "run.json").write_text(json.dumps({"fingerprint": "a", "settings": SETTINGS}))
    with pytest.raises(HarnessError, match="of an earlier version of dogerm"):
        claim(out, SETTINGS, MADE_WITH)


def test_finished_foreign_and_damaged_folders_are_left_alone(tmp_path: Path) -> None:
    """Nothing in them changes."""
    done = tmp_path / "done"
    claim(done, SETTINGS, MADE_WITH)
    (done / "adapter_model.safetensors").write_bytes(b"x")
    assert to_go_on_from(done) is None  # killed before it had written its figures
    (done / "figures.json").write_text("{}")
    claim(done, SETTINGS, MADE_WITH)
    with pytest.raises(FinishedError, match="finished already"):
        to_go_on_from(done)
    assert (done / "adapter_model.safetensors").read_bytes() == b"x"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(HarnessError, match="not empty"):
        claim(foreign, SETTINGS, MADE_WITH)
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    (done / "run.json").write_text("{")
    with pytest.raises(HarnessError, match="damaged"):
        claim(done, SETTINGS, MADE_WITH)


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HarnessError, match=r"written \(Not a directory\): choose another folder"):
        claim(tmp_path / "file" / "out", SETTINGS, MADE_WITH)
