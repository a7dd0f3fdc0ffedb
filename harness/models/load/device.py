"""Which device and dtype are fast on this machine."""

from __future__ import annotations

import functools
import time

# Below this ratio bf16 is emulated: slower, and less exact for nothing.
WORTH_IT = 0.9


@functools.cache
def fast_dtype() -> str:
    """`bfloat16` where a matrix product of a small model's shape is not slower in it.

    On a CPU this is measured (a few milliseconds), because neither torch nor the processor's flags
    say whether the bf16 kernel is a native one.
    """
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if torch.backends.mps.is_available():
        return "float32"
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 576, dtype=dtype)
        b = torch.ones(576, 1536, dtype=dtype)
        a @ b  # warm up
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        seconds[dtype] = time.perf_counter() - start
    faster = seconds[torch.bfloat16] < WORTH_IT * seconds[torch.float32]
    return "bfloat16" if faster else "float32"
