"""The files of a finished sweep: complete or the earlier ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.show import picture
from harness.study import output
from tests.harness.show import example


def test_a_failure_leaves_the_earlier_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four are of one sweep at any time."""
    sweep = example.sweep()
    written = output.write(sweep, tmp_path)
    assert [path.name for path in written] == [
        "best.yml",
        "lambda.png",
        "margins.png",
        "sweep.json",
    ]
    assert json.loads(written[-1].read_text("utf-8")) == sweep
    before = {path: path.read_bytes() for path in written}

    def fails(*_: Any) -> None:
        raise HarnessError("no room")

    monkeypatch.setattr(picture, "write", fails)
    with pytest.raises(HarnessError, match="no room"):
        output.write({**sweep, "metric": "margin", "best_recipe": "other"}, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_picture_that_there_is_nothing_for_goes(tmp_path: Path) -> None:
    sweep = example.sweep()
    output.write(sweep, tmp_path)
    written = output.write({**sweep, "margins": None}, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert [path.name for path in written] == ["best.yml", "lambda.png", "sweep.json"]


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    """The class that reads the file writes it: no file is written that could not be read."""
    with pytest.raises(ValueError, match="points"):
        output.write({**example.sweep(), "points": []}, tmp_path)
    assert not list(tmp_path.iterdir())
