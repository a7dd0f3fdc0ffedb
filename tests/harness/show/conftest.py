"""Sweeps and searches as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write_found(tmp_path: Path) -> Callable[..., Path]:
    """Writes what a sweep or search holds into a folder of its kind, and gives the folder."""

    def write(found: dict[str, Any]) -> Path:
        folder = tmp_path / found["kind"]
        folder.mkdir(exist_ok=True)
        text = json.dumps(found)
        (folder / f"{found['kind']}.json").write_text(text, encoding="utf-8")
        return folder

    return write
