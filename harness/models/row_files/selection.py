# SPDX-License-Identifier: Apache-2.0
"""Which rows of a scored set are written: those above a reward, the best, the best of a prompt."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.models.row_files.forms import PAIR
from harness.models.row_files.kept import KeptRow


@dataclass(frozen=True)
class Filter:
    """What is written of a scored set; rows without a reward are not, where anything is asked.

    A row of several responses counts by its best, a pair by its margin.

    Attributes:
        best_of: of rows with the same prompt only the best, of several responses only the best.
        threshold: rows of at least this.
        top: so many rows, the best ones.
    """

    best_of: bool = False
    threshold: float | None = None
    top: int | None = None

    @property
    def asks(self) -> bool:
        """Whether anything is left out."""
        return self.best_of or self.threshold is not None or self.top is not None

    @property
    def across_prompts(self) -> str | None:
        """The option that compares rewards of unlike prompts; None where none does."""
        return (
            "--top" if self.top is not None else None if self.threshold is None else "--threshold"
        )


def best(rewards: Sequence[float]) -> int:
    """The first of the largest rewards."""
    return max(range(len(rewards)), key=lambda place: rewards[place])


def value_of(row: KeptRow) -> float | None:
    """The number that a row is chosen by; None without a reward."""
    if isinstance(row.rewards, str):
        return None
    return row.rewards[0] - row.rewards[1] if row.form == PAIR else max(row.rewards)


def selected(rows: Callable[[], Iterable[KeptRow]], asked: Filter) -> bytearray:
    """A byte for each row: 1 where it is written. Of equal rows the earlier one is.

    Args:
        rows: reads them from the beginning.
        asked: what is.
    """
    flags = bytearray()
    of_prompt: dict[str, tuple[float, int]] = {}
    for number, row in enumerate(rows()):
        value = value_of(row)
        flags.append(value is not None)
        if value is not None and asked.best_of:
            before = of_prompt.setdefault(row.prompt, (value, number))
            if value > before[0]:
                flags[before[1]] = 0
                of_prompt[row.prompt] = value, number
            elif before[1] != number:
                flags[number] = 0
    of_prompt.clear()

    def left() -> Iterator[tuple[float, int]]:
        for number, row in enumerate(rows()):
            if flags[number]:
                yield value_of(row) or 0.0, number

    if asked.threshold is not None:
        for value, number in left():
            flags[number] = value >= asked.threshold
    if asked.top is not None:
        kept = heapq.nlargest(asked.top, ((value, -number) for value, number in left()))
        flags = bytearray(len(flags))
        for _, number in kept:
            flags[-number] = 1
    return flags
