# SPDX-License-Identifier: Apache-2.0
"""Where jobs are done: here, or by many workers elsewhere."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from harness.study.worker import Job, Outcome, Worker


class Pool(Protocol):
    """Workers that take jobs.

    At most `size` jobs are submitted at a time; each goes to a worker that is idle. A trial's next
    rung is submitted right after its last outcome was taken, so that it goes to the worker that
    just became idle, which holds the trial's merge and remembers the rows that it has scored.
    """

    @property
    def size(self) -> int:
        """How many jobs can be under way."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def next(self) -> Outcome:
        """Wait for any job that was submitted, and give its outcome.

        Raises:
            HarnessError: a job's worker was lost again and again, or no worker can be started.
        """

    def close(self) -> None:
        """Let the workers go, whatever they do."""


class LocalPool:
    """One worker in this process; the work is done in `next`."""

    size = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._waiting: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """See `Pool`."""
        self._waiting.append(job)

    def next(self) -> Outcome:
        """See `Pool`."""
        return self._worker.run(self._waiting.popleft())

    def close(self) -> None:
        """See `Pool`."""
