# SPDX-License-Identifier: Apache-2.0
"""The rewards of all chunks put into the rows, and these written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.models.row_files import output, selection
from harness.models.row_files.forms import RESPONSES, values_of
from harness.models.row_files.kept import Kept, KeptRow
from harness.models.row_files.order import Order
from harness.rows.columns import ColumnCells

Row = dict[str, Any]

# Bad rows that are named.
NAMED = 5


class Outcome(NamedTuple):
    """What became of a set.

    Attributes:
        rows: that were read.
        written: of them.
        bad: rows without a reward.
        named: the first of them, each with its place and reason.
        truncated: conversations that lost their beginning.
        empty: answers without a text, which have a reward like others.
        error_column: the column with the reasons.
        mean: of all rewards; None where there are none.
        std: their standard deviation.
        within_row: rewards of unlike rows do not compare.
    """

    rows: int
    written: int
    bad: int
    named: list[str]
    truncated: int
    empty: int
    error_column: str
    mean: float | None
    std: float
    within_row: bool


def finish(order: Order, kept: Kept, count: int, say: Callable[[str], None]) -> Outcome:
    """Write the output from the rewards of so many chunks, and delete these.

    Raises:
        HarnessError: a row has a column of the new one's name, rewards that are to be compared do
            not, or the file can't be written.
    """
    if not count:
        kept.remove()
        raise HarnessError(f"{order.source.path}: no rows")
    within_row = kept.within_row(count)
    across = order.chosen.across_prompts
    if within_row and across is not None:
        raise HarnessError(
            f"{across} holds rewards of unlike prompts against each other, and those of this model "
            "compare within a row alone (ranks, or experts without a calibration); leave it out "
            "(what is scored is kept)"
        )
    flags = (
        selection.selected(lambda: kept.rows(count), order.chosen) if order.chosen.asks else None
    )
    made = _Rows(order, kept, count, flags)
    made.look_through()
    written = output.write(order.output, made.written, order.parquet)
    for line in made.cells.lines(made.rows):
        say(line)
    mean, std = spread(reward for row in kept.rows(count) for reward in _rewards(row))
    outcome = Outcome(
        rows=made.rows,
        written=written,
        bad=made.bad,
        named=made.named,
        truncated=kept.truncated(count),
        empty=kept.empty(count),
        error_column=order.error_column,
        mean=mean,
        std=std,
        within_row=within_row,
    )
    kept.remove()
    return outcome


def spread(numbers: Iterable[float]) -> tuple[float | None, float]:
    """Mean and standard deviation of numbers that are read once (Welford 1962)."""
    count, mean, squares = 0, 0.0, 0.0
    for count, one in enumerate(numbers, start=1):  # used below
        before = one - mean
        mean += before / count
        squares += before * (one - mean)
    return (mean, math.sqrt(squares / count)) if count else (None, 0.0)


def _rewards(row: KeptRow) -> list[float]:
    return [] if isinstance(row.rewards, str) else row.rewards


class _Rows:
    """The rows with their rewards; read as often as the output needs them."""

    def __init__(self, order: Order, kept: Kept, count: int, flags: bytearray | None) -> None:
        self._order, self._kept, self._count, self._flags = order, kept, count, flags
        self.cells = ColumnCells(order.names._asdict())
        self.rows = self.bad = 0
        self.named: list[str] = []

    def _both(self) -> Iterator[tuple[str, Row, KeptRow]]:
        """Each row with its rewards: scoring takes long, and the file may be another one by now.

        Raises:
            HarnessError: it is.
        """
        found = 0
        for chunk in self._order.chunks():
            found += 1
            if found > self._count:
                break
            yield from zip(chunk.places, chunk.rows, self._kept.rows_of(chunk), strict=True)
        if found != self._count:
            raise HarnessError(
                f"{self._order.source.path} has {'more' if found > self._count else 'fewer'} rows "
                "than when it was scored; run this again: what is scored so far is kept"
            )

    def look_through(self) -> None:
        """Count rows, and refuse those that have the new columns already."""
        for place, row, kept in self._both():
            self.rows += 1
            self.cells.see(row)
            self._order.refuse_taken(place, row, self._order.new_columns(row, kept.form))
            self._order.refuse_replaced(place, row, kept.form)
            if isinstance(kept.rewards, str):
                self.bad += 1
                if len(self.named) < NAMED:
                    self.named.append(f"{place}: {kept.rewards}")

    def written(self) -> Iterator[Row]:
        """The rows that are written, each with its new columns."""
        for number, (_, row, kept) in enumerate(self._both()):
            if self._flags is not None and not self._flags[number]:
                continue
            names = self._order.new_columns(row, kept.form)
            if isinstance(kept.rewards, str):
                yield {**row, **dict.fromkeys(names), self._order.error_column: kept.rewards}
                continue
            if kept.form == RESPONSES and self._order.chosen.best_of:
                place = selection.best(kept.rewards)
                answers = self._order.names.responses
                rest = {key: value for key, value in row.items() if key != answers}
                answer = {self._order.best_column: row[answers][place]}
                yield {**rest, **answer, names[0]: kept.rewards[place]}
                continue
            yield {**row, **dict(zip(names, values_of(kept.form, kept.rewards), strict=True))}
