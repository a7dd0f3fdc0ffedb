# SPDX-License-Identifier: Apache-2.0
"""Shares work out over threads that need not wait for each other.

torch divides every single operation among its threads, which then wait for the last of them, and
keep a core busy while they do: where other programs use the cores too, that costs many times the
work itself. Here each thread takes the next piece, and does all operations on it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Found = TypeVar("Found")


def shared_out(work: Callable[[Iterator[Piece]], Found], pieces: Sequence[Piece]) -> list[Found]:
    """Run `work` in as many threads as torch is set to use, on pieces that it takes in turn.

    Args:
        work: takes pieces from what it is given until there are none; torch's operations in it are
            of one thread.
        pieces: what is to be done, each once.

    Returns:
        What each of the threads returned; of one thread where there is no more than one piece.

    Raises:
        Exception: what `work` raises, when all threads have ended.
    """
    threads = torch.get_num_threads()
    common = iter(pieces)  # its next() is one step, whichever thread asks
    if min(threads, len(pieces)) < 2:
        with one_thread():
            return [work(common)]
    # Sets what a thread has, and what those have that are started later; not the caller's.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running = [pool.submit(work, common) for _ in range(min(threads, len(pieces)))]
    torch.set_num_threads(threads)  # for those that are started later
    return [one.result() for one in running]


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch's operations done by the calling thread alone: for little work in many steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
