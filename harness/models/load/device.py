"""Which device and dtype are fast on this machine."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Below this ratio bf16 is emulated: slower, and less exact for nothing.
WORTH_IT = 0.9
# From this one on it is worth a warning; what is between may be noise.
TELLING = 2.0


@functools.cache
def fast_dtype() -> str:
    """`bfloat16` where a matrix product of a small model's shape is not slower in it."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if torch.backends.mps.is_available():
        return "float32"
    return "bfloat16" if slowdown("bfloat16") < WORTH_IT else "float32"


@functools.cache
def slowdown(dtype: str) -> float:
    """How many times as long as in float32 a small product takes on this CPU.

    It is measured (a few milliseconds), because neither torch nor the processor's flags say whether
    the kernel of a dtype is a native one.
    """
    import torch

    def seconds(kind: torch.dtype) -> float:
        a = torch.ones(512, 576, dtype=kind)
        b = torch.ones(576, 1536, dtype=kind)
        a @ b  # warm up
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        return time.perf_counter() - start

    return seconds(getattr(torch, dtype)) / seconds(torch.float32)


def warn_if_emulated(dtype: torch.dtype, device: torch.device) -> None:
    """Say once in a run that a model computes in a dtype that this CPU only emulates."""
    name = str(dtype).removeprefix("torch.")
    if device.type == "cpu" and name in ("bfloat16", "float16") and slowdown(name) >= TELLING:
        _warn(name)


@functools.cache
def _warn(name: str) -> None:
    logger.warning(
        "%s is emulated on this processor: a small product takes %.0f times as long as in float32. "
        "dtype=float32 is faster and more exact, for twice the memory",
        name,
        slowdown(name),
    )
