# SPDX-License-Identifier: Apache-2.0
"""Task arithmetic and TIES for a reward model, against mergekit's own on language models."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.benchmarks.measure import Child, Pairs, in_process
from tests.benchmarks.table import Figures
from tests.benchmarks.test_merging import SECTION, disk, made

__all__ = ["disk", "made"]
PAIRS = 3


def recipe(method: str, base: Path, models: tuple[Path, Path]) -> dict[str, Any]:
    """The first model whole, the second at half its change; by TIES six tenths of both kept."""
    kept = {} if method.endswith("task_arithmetic") else {"density": 0.6}
    entries = [
        {"model": str(model), "parameters": {"weight": weight, **kept}}
        for model, weight in zip(models, (1.0, 0.5), strict=True)
    ]
    return {"merge_method": method, "base_model": str(base), "models": entries}


@pytest.mark.parametrize("method", ["task_arithmetic", "ties"])
def test_whole_command(
    method: str, disk: Path, made: Callable[[str, int], Path], table: Figures
) -> None:
    """mergekit-yaml on a 1.1B pair and its base, a process each; the same tensors where stored."""
    reward, domain, base, twin = (made("1.1B", number) for number in (0, 1, 2, 3))
    content = {
        "ours": recipe(f"reward_preserving_{method}", base, (reward, domain)),
        "peer": recipe(method, base, (twin, domain)),
    }
    taken: dict[str, list[Child]] = {"ours": [], "peer": []}
    env = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.getcwd()}
    for name, one in content.items():
        (disk / f"{name}.yml").write_text(yaml.safe_dump(one), encoding="utf-8")
    for _ in range(PAIRS):
        for name, children in taken.items():
            out = disk / name
            shutil.rmtree(out, ignore_errors=True)
            os.sync()
            argv = [sys.executable, "-m", "dogerm_plugin", disk / f"{name}.yml", out, "--quiet"]
            children.append(in_process(argv, env=env, timeout=900))
    merged, own = (
        load_file(disk / "ours" / "model.safetensors"),
        load_file(reward / "model.safetensors"),
    )
    assert set(merged) == set(own)
    assert torch.equal(merged["score.weight"], own["score.weight"])
    seconds, peaks = (
        Pairs(*([of(child) for child in taken[name]] for name in ("ours", "peer")), unit)
        for of, unit in ((lambda c: c.seconds, "s"), (lambda c: float(c.peak_bytes), "bytes"))
    )
    stored = sum(one.numel() * one.element_size() for one in merged.values())
    against = f"whole command, 1.1B, {method}, against mergekit's own on language models"
    note = f"{PAIRS} pairs, bfloat16, imports included; the output has {stored / 1e9:.2f} GB"
    table.add(SECTION, f"{against}: time", seconds.ratio, 1.3, "at most", "×", note, pairs=seconds)
    table.add(SECTION, f"{against}: memory", peaks.ratio, 1.0, "at most", "×", note, pairs=peaks)
