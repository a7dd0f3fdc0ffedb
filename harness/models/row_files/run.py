# SPDX-License-Identifier: Apache-2.0
"""A set of rows scored by this process, and by those that a launcher has started beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from harness.models.row_files.bar import RowBar
from harness.models.row_files.finish import Outcome, finish
from harness.models.row_files.kept import Kept
from harness.models.row_files.order import Order
from harness.models.row_files.rewards import rewards_of


def score(order: Order, say: Callable[[str], None]) -> Outcome | None:
    """Score the rows of an order in this process, and in those that a launcher has started.

    Returns:
        What became of them; None in all processes but the first.

    Raises:
        HarnessError: the order makes no sense, the model can't be loaded, or an earlier run with
            other rows, model or options has left its rewards beside the output.
    """
    from harness.runs.quiet import at_level

    order.check()
    lm = order.wanted.load()
    rank, processes = int(lm.rank), int(lm.world_size)
    kept = _begun(order, rank, processes)
    quiet: AbstractContextManager[None] = nullcontext()
    total = order.count_rows() if rank == 0 else None
    count = 0
    with RowBar(total, hidden=rank != 0) as bar:
        for chunk in order.chunks():
            count = chunk.number + 1
            if kept.has(chunk):
                bar.skip(len(chunk.rows))
                continue
            if chunk.number % processes != rank:
                bar.add(len(chunk.rows))
                continue
            # Each chunk would say again what is to be said of the template.
            with quiet, bar.of(len(chunk.rows), chunk.conversations):
                rewarded = rewards_of(lm, chunk.asked)
            kept.write(chunk, rewarded)
            quiet = at_level("lm_eval", logging.ERROR)
    _wait(processes)
    return None if rank else finish(order, kept, count, say)


def _begun(order: Order, rank: int, processes: int) -> Kept:
    """The rewards on disk; the first process makes the folder."""
    identity = order.identity
    if rank:
        _wait(processes)
        return Kept(order.output, identity)
    try:
        return Kept(order.output, identity)
    finally:  # of an error too: each process tells it then, and none waits
        _wait(processes)


def _wait(processes: int) -> None:
    if processes > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
