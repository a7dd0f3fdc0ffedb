"""Leaves with local data of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.tasks.base.file_each import absent


def config(part: str, folder: Path | None, **metadata: str) -> dict[str, Any]:
    about = {"data_dir": str(folder)} if folder else {}
    name = f"rmb-{part}"
    return {"task": name, "dataset_kwargs": {"benchmark": name}, "metadata": {**about, **metadata}}


def test_absent_where_only_others_have_data(write_rows: Callable[..., Path]) -> None:
    folder = write_rows([{}], "rmb-one")
    (folder / "rmb-two" / "deep").mkdir(parents=True)
    (folder / "rmb-two" / "deep" / "a.json").write_text("[]")
    (folder / "rmb-empty").mkdir()
    assert absent(config("one", folder)) is None and absent(config("two", folder)) is None
    found = absent(config("three", folder))
    assert found is not None and found.metadata is not None
    assert found.metadata["present"] == ["rmb-one", "rmb-two"]
    assert absent(config("three", folder, missing="hub")) is None


def test_not_absent_without_local_data(write_rows: Callable[..., Path]) -> None:
    """Then the Hub is asked, or it is an error that nothing is there."""
    assert absent(None) is None and absent(config("one", None)) is None
    assert absent(config("one", write_rows([{}], "other-one"))) is None


def test_misspelt_metadata_is_refused(tasks: Any, write_rows: Callable[..., Path]) -> None:
    manager = tasks(data_dir=write_rows([{}], "ppe_preference"), mising="hub")
    with pytest.raises(HarnessError, match="unknown key 'mising'; did you mean 'missing'"):
        manager.load(["ppe_preference"])
