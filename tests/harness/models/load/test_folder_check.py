# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders that would hang or end in a traceback when ``--model reward`` opens them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.models.reward import Reward

DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a FIFO for the config": ("config.json", os.mkfifo, "a FIFO"),
    "a FIFO for the weights": ("model.safetensors", os.mkfifo, "a FIFO"),
    "a folder for the weights": ("model.safetensors", Path.mkdir, "a folder"),
    "a list": ("config.json", lambda file: file.write_text("[]"), "JSON list"),
    "too deep": ("config.json", lambda file: file.write_text("[" * 100_000), "nested too deep"),
    "no safetensors": ("model.safetensors", lambda file: file.write_bytes(b"x" * 99), "damaged"),
}


@pytest.fixture
def own_model(reward_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(reward_model, tmp_path / "own"))


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_folders(own_model: Path, kind: str) -> None:
    name, damage, words = DAMAGES[kind]
    (own_model / name).unlink()
    damage(own_model / name)
    with pytest.raises(HarnessError, match=words):
        Reward(pretrained=str(own_model), device="cpu")


def test_a_rope_type_that_does_not_exist(own_model: Path) -> None:
    file = own_model / "config.json"
    config = json.loads(file.read_text())
    config["rope_parameters"] = {"rope_type": "yam", "rope_theta": 1e4}
    file.write_text(json.dumps(config))
    with pytest.raises(HarnessError, match=r"config\.json: .*'yam'"):
        Reward(pretrained=str(own_model), device="cpu")
