# SPDX-License-Identifier: Apache-2.0
"""What a training run uses of the machine: the arithmetic, and the memory of a CPU.

With SmolLM2-135M, an adapter on its upper 15 layers and 2 cores without bf16 instructions, a step
took 15 times as long in bf16, and 1.5 times as long as allocators come; see ``tests/benchmarks``.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

import click

from harness.models.load.device import fast_dtype

_MAPS = Path("/proc/self/maps")
_OTHERS = ("jemalloc", "tcmalloc", "mimalloc")  # keep their memory by themselves
# malloc.h of glibc: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX
_KEEP = {-1: 2**31 - 1, -2: 2**26, -3: 2**31 - 1, -8: 1}


def settle(dtype: str) -> str:
    """The dtype to train in, with the allocator made ready; say both. Call it before all else.

    Args:
        dtype: of the config; `auto` is bfloat16 where it is not emulated, and else float32.
    """
    import torch

    memory = None if torch.cuda.is_available() else _allocator()
    chosen = ("bfloat16" if fast_dtype() == "bfloat16" else "float32") if dtype == "auto" else dtype
    click.echo(f"training in {chosen}" + (f", memory: {memory}" if memory else ""), err=True)
    return chosen


@functools.cache
def _allocator() -> str | None:
    """Which allocator this is; glibc's is told to keep what it has, where it can be told.

    By itself it gives every large tensor back to the kernel, so that the next one starts with page
    faults again, and the pools that it has for each thread keep memory from one another.
    """
    if not _MAPS.exists():
        return None
    loaded = _MAPS.read_text()
    for name in _OTHERS:
        if name in loaded:
            return name
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "libc.so.6" not in loaded:
        return None
    _use_large_pages()
    kept = all([mallopt(option, value) for option, value in _KEEP.items()])
    return "glibc's allocator, keeping what it has" if kept else "glibc's allocator as it comes"


def _use_large_pages() -> None:
    """Let torch ask for pages of 2 MB, where the kernel has them.

    Torch reads the variable once, at its first large tensor; processes that this one starts do not
    get it.
    """
    import torch

    if "THP_MEM_ALLOC_ENABLE" not in os.environ:
        os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
        torch.empty(1 << 20)  # 4 MB
        del os.environ["THP_MEM_ALLOC_ENABLE"]
