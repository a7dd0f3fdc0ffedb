# SPDX-License-Identifier: Apache-2.0
"""What is told of measurements while they are made."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.show.naming import lambda_is
from harness.show.numbers import duration
from harness.study.measuring import TaskResult
from harness.study.worker import Job


class Progress:
    """Tells of each measurement its score, how long it took and how long the rest may take.

    Args:
        say: told a line at a time.
        metric: what is told of a task.
        count: of measurements.
    """

    def __init__(self, say: Callable[[str], None], metric: str, count: int) -> None:
        self._say = say
        self._metric = metric
        self._count = count
        self._number = 0
        self._seconds: list[float] = []
        self._last = time.perf_counter()

    def tell(self, job: Job, result: TaskResult, measured: bool) -> None:
        """Tell of the next measurement.

        Args:
            job: which.
            result: what it gave.
            measured: False if it was there already.
        """
        self._number += 1
        now = time.perf_counter()
        took, self._last = now - self._last, now
        whole = result.sections[0]
        error = f" ± {whole.stderr:.3f}" if whole.stderr is not None else ""
        line = (
            f"{self._number}/{self._count}  {lambda_is(job.point.label)}  {result.task}  "
            f"{self._metric} {whole.score:.3f}{error}"
        )
        if not measured:
            self._say(f"{line}  (from an earlier run)")
            return
        self._seconds.append(took)
        left = self._count - self._number
        # The first one loads the model, too.
        typical = sorted(self._seconds)[len(self._seconds) // 2]
        more = f", about {duration(left * typical)} left" if left else ""
        self._say(f"{line}  ({duration(took)}{more})")
