# SPDX-License-Identifier: Apache-2.0
"""A line for every measurement."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.show.naming import lambda_is
from harness.show.numbers import duration
from harness.sweep.choose import Section


class Progress:
    """Tells of each measurement its score, how long it took and how long the rest may take.

    Args:
        say: told a line at a time.
        count: of measurements.
    """

    def __init__(self, say: Callable[[str], None], count: int) -> None:
        self._say = say
        self._count = count
        self._number = 0
        self._seconds: list[float] = []
        self._last = time.perf_counter()

    def tell(self, label: str, task: str, metric: str, score: Section, done: bool) -> None:
        """Tell of the next measurement.

        Args:
            label: of the weights.
            task: whose rows.
            metric: what is told of it.
            score: of the whole task.
            done: False if it was there already.
        """
        self._number += 1
        now = time.perf_counter()
        took, self._last = now - self._last, now
        error = f" ± {score.stderr:.3f}" if score.stderr is not None else ""
        line = (
            f"{self._number}/{self._count}  {lambda_is(label)}  {task}  {metric} "
            f"{score.score:.3f}{error}"
        )
        if not done:
            self._say(f"{line}  (from an earlier run)")
            return
        self._seconds.append(took)
        left = self._count - self._number
        # The first one loads the model, too.
        typical = sorted(self._seconds)[len(self._seconds) // 2]
        more = f", about {duration(left * typical)} left" if left else ""
        self._say(f"{line}  ({duration(took)}{more})")
