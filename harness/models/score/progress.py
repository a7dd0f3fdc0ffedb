# SPDX-License-Identifier: Apache-2.0
"""A progress bar that is gone before an error is told, and one for several threads together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm


class Stopped(Exception):
    """Another thread has failed, so this one's work is not wanted any more."""


class Together:
    """One bar that several threads move on.

    Args:
        bar: tqdm's.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._stopped = False

    def update(self, rows: int) -> None:
        """Rows are done.

        Raises:
            Stopped: nobody waits for them.
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            self._bar.update(rows)

    def stop(self) -> None:
        """End every thread at its next `update`."""
        with self._lock:
            self._stopped = True


_together: ContextVar[Any] = ContextVar("the bar of several threads", default=None)


@contextmanager
def bar(count: int, *, hidden: bool) -> Iterator[Any]:
    """A bar for `count` rows; it stays when all are done, and is cleared by an error.

    Inside `together` it is that one.
    """
    shared = _together.get()
    if shared is not None:
        yield shared
        return
    made = tqdm(total=count, desc="Scoring", unit="row", disable=hidden)
    try:
        yield made
    except BaseException:
        made.leave = False
        raise
    finally:
        made.close()


@contextmanager
def on(bar: Any) -> Iterator[None]:
    """Let what is scored within move `bar` on, by its ``update``, and show none of its own."""
    before = _together.set(bar)
    try:
        yield
    finally:
        _together.reset(before)


@contextmanager
def together(count: int, *, hidden: bool) -> Iterator[Together]:
    """A bar for `count` rows that threads score, which are given this context."""
    with bar(count, hidden=hidden) as made:
        shared = Together(made)
        with on(shared):
            yield shared
