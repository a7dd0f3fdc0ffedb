"""Small training files and configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration beside its data; keyword arguments are its top-level keys."""

    def write(name: str = "config.yml", **content: Any) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content), "utf-8")
        return path

    return write


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[str, list[dict[str, Any]]], Path]:
    """Writes rows to a JSONL file of that name in the test's folder."""

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write


def pairs(count: int) -> list[dict[str, str]]:
    """Preference pairs; the longer answer is chosen in two of three."""
    return [
        {
            "prompt": f"Please name the number after {n}!",
            "chosen": f"It is {n + 1}." + " I hope that helps." * (n % 3),
            "rejected": f"It is {n + 2}, it is." + " I cannot help." * (n % 2),
        }
        for n in range(count)
    ]
