# SPDX-License-Identifier: Apache-2.0
"""What a training run uses of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.training import machine

_RUN = """
import ctypes, resource, torch
from harness.training.machine import settle
settle("float32")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_allocator_keeps_what_it_has() -> None:
    """Twenty tensors of 64 MB cost the page faults of one."""
    if not machine._MAPS.exists():
        pytest.skip("Linux alone")
    done = subprocess.run([sys.executable, "-c", _RUN], capture_output=True, text=True, check=True)
    assert "training in float32, memory: " in done.stderr
    assert int(done.stdout) < 2 * (64 << 20) / 4096


@pytest.mark.parametrize(
    ("fast", "dtype", "expected"),
    [
        ("bfloat16", "auto", "bfloat16"),
        ("float32", "auto", "float32"),
        ("float16", "auto", "float32"),  # GradScaler is none of what is tested
        ("float32", "bfloat16", "bfloat16"),
    ],
)
def test_dtype(fast: str, dtype: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bfloat16 where it is fast, and what the config says in any case."""
    monkeypatch.setattr(machine, "fast_dtype", lambda: fast)
    assert machine.settle(dtype) == expected


def test_other_allocators_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jemalloc, preloaded, is left as it is."""
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 0 00:00 0 /usr/lib/libjemalloc.so.2\n/lib/libc.so.6\n")
    monkeypatch.setattr(machine, "_MAPS", maps)
    assert machine._allocator.__wrapped__() == "jemalloc"
