# SPDX-License-Identifier: Apache-2.0
"""What a processor without bfloat16 instructions makes of the work at hand, in seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch

from harness.models.load.device import fast_dtype

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# The first pass also pays for what happens once; from here on the rest is worth an estimate.
SECONDS = 3.0
# Shorter work is over before anybody has read the line.
WORTH_TELLING = 20.0


class Forecast:
    """Says once in a process how long scoring takes where there are no bfloat16 instructions.

    The time of the first passes, by the share of the rows' lengths that they held: what is said is
    measured, on these rows.

    Args:
        sizes: of all rows, in any unit.
        dtype: that the model computes in.
        device: where.

    Attributes:
        told: it has been said in this process.
    """

    told: ClassVar[bool] = False

    def __init__(self, sizes: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self._sizes, self._dtype = sizes, dtype
        self._wanted = not Forecast.told and device.type == "cpu" and fast_dtype() == "float32"
        self._done = 0
        self._start = time.perf_counter()

    def passed(self, rows: Iterable[int]) -> None:
        """Rows of these numbers are scored."""
        if not self._wanted:
            return
        self._done += sum(self._sizes[row] for row in rows)
        taken = time.perf_counter() - self._start
        if taken < SECONDS or not self._done:
            return
        self._wanted = False
        total = taken * sum(self._sizes) / self._done
        if total >= WORTH_TELLING:
            Forecast.told = True
            logger.warning(
                "this processor is slow in bfloat16: scoring %d rows in %s takes about %.0f s here",
                len(self._sizes),
                str(self._dtype).removeprefix("torch."),
                total,
            )
