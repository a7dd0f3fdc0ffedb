# SPDX-License-Identifier: Apache-2.0
"""A set of rows scored by Ray's workers, a chunk at a time each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from harness.models.actors.pool import ActorPool, Made
from harness.models.row_files.bar import RowBar
from harness.models.row_files.chunks import Chunk
from harness.models.row_files.finish import Outcome, finish
from harness.models.row_files.forms import Asked
from harness.models.row_files.kept import Kept
from harness.models.row_files.loading import Wanted
from harness.models.row_files.order import Order
from harness.models.row_files.rewards import Rewarded, rewards_of

# Chunks that wait for each worker, so that none is idle; they are in memory.
AHEAD = 2


@dataclass(frozen=True)
class ChunkJob:
    """A chunk's conversations, for a worker."""

    number: int
    asked: list[Asked | str]

    @property
    def label(self) -> str:
        """Names it, for messages."""
        return f"chunk {self.number}"

    @property
    def subject(self) -> int:
        """One for all: any worker does as well."""
        return 0


class Done(NamedTuple):
    """A chunk's number, and its rewards."""

    number: int
    rewarded: Rewarded


class ChunkWorker:
    """A model in a worker.

    Args:
        wanted: the model.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._lm = wanted.load()

    def run(self, job: ChunkJob) -> Done:
        """Score a chunk."""
        from harness.runs.quiet import at_level

        with at_level("lm_eval", logging.ERROR):
            return Done(job.number, rewards_of(self._lm, job.asked))


def score(order: Order, address: str, workers: int | None, say: Callable[[str], None]) -> Outcome:
    """As `run.score`, by Ray's workers.

    Args:
        order: what is to be scored.
        address: as `ActorPool`.
        workers: how many; see `harness.models.actors.cluster.divide`.
        say: told of workers and losses.
    """
    order.check()
    kept = Kept(order.output, order.identity)
    arguments = order.wanted.arguments
    pool: ActorPool[ChunkJob, Done] = ActorPool(
        Made(ChunkWorker, (order.wanted,), order.wanted.files),
        address,
        workers,
        device=str(arguments.get("device") or ""),
        spread=bool(arguments.get("parallelize")),
        say=say,
    )
    waiting: dict[int, Chunk] = {}
    count = 0
    try:
        with RowBar(order.count_rows(), hidden=False) as bar:

            def take() -> None:
                done = pool.next()
                chunk = waiting.pop(done.number)
                kept.write(chunk, done.rewarded)
                bar.add(len(chunk.rows))

            for chunk in order.chunks():
                count = chunk.number + 1
                if kept.has(chunk):
                    bar.skip(len(chunk.rows))
                    continue
                waiting[chunk.number] = chunk
                pool.submit(ChunkJob(chunk.number, chunk.asked))
                if len(waiting) >= AHEAD * pool.size:
                    take()
            while waiting:
                take()
    finally:
        pool.close()
    return finish(order, kept, count, say)
