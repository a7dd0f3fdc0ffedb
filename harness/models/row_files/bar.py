# SPDX-License-Identifier: Apache-2.0
"""One progress bar over all chunks, in rows, that moves while a model scores conversations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from harness.models.score import progress


class RowBar:
    """A bar in rows, with the time that is left where the number of rows is known.

    Args:
        total: rows; None where nobody knows.
        hidden: nothing is shown.
    """

    def __init__(self, total: int | None, *, hidden: bool) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(total=total, desc="Scoring", unit="row", disable=hidden)
        self._rows = self._conversations = self._done = self._told = 0

    def __enter__(self) -> RowBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._bar.leave = kind is None
        self._bar.close()

    def skip(self, rows: int) -> None:
        """Rows that an earlier run has done: they say nothing of the speed, or the time left."""
        if self._bar.disable:
            return
        for place in ("initial", "n", "last_print_n"):
            setattr(self._bar, place, getattr(self._bar, place) + rows)
        self._bar.refresh()

    def add(self, rows: int) -> None:
        """Rows that are done, here or meanwhile elsewhere."""
        self._bar.update(rows)

    @contextmanager
    def of(self, rows: int, conversations: int) -> Iterator[None]:
        """While a model scores so many conversations of so many rows."""
        self._rows, self._conversations = rows, max(1, conversations)
        self._done = self._told = 0
        with progress.on(self):
            yield
        self._bar.update(self._rows - self._told)

    def update(self, conversations: int) -> None:
        """Conversations are done; some are done twice, where a row can't be scored."""
        self._done += conversations
        rows = min(self._rows, self._rows * self._done // self._conversations)
        self._bar.update(rows - self._told)
        self._told = rows
