# SPDX-License-Identifier: Apache-2.0
"""What is to be scored, how, and where the rows go."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.row_files import output
from harness.models.row_files.chunks import Chunk, chunks
from harness.models.row_files.forms import RESPONSE, RESPONSES, Names, columns_of, form_of
from harness.models.row_files.loading import Wanted
from harness.models.row_files.selection import Filter
from harness.rows import archives, local_files
from harness.rows.answer import REWARD
from harness.rows.source import Source

Row = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What is to be scored, how, and where the rows go.

    Attributes:
        source: the rows.
        wanted: the model.
        output: the file.
        names: of the columns that are read.
        column: that is written; None: ``reward``.
        allow_markup: special tokens may stand in texts.
        chosen: which rows are written.
        overwrite: an output that is there is replaced.
        limit: rows that are read; None: all.
    """

    source: Source
    wanted: Wanted
    output: Path
    names: Names = field(default_factory=Names)
    column: str | None = None
    allow_markup: bool = False
    chosen: Filter = field(default_factory=Filter)
    overwrite: bool = False
    limit: int | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What the rewards depend on beside the rows."""
        return {
            **self.wanted.identity,
            "columns": str(dict(self.names._asdict())),
            "allow_markup": str(self.allow_markup),
        }

    def rows(self) -> Iterator[tuple[str, Row]]:
        """The rows, each with its place."""
        return islice(self.source.rows(), self.limit)

    def chunks(self) -> Iterator[Chunk]:
        """The rows in chunks.

        Raises:
            HarnessError: a row can't be read; it says that what is scored is not lost.
        """
        try:
            yield from chunks(self.rows(), self.names, self.source.path, self.allow_markup)
        except HarnessError as error:
            raise HarnessError(
                f"{error} (what is scored is kept: the same command goes on when that is mended)"
            ) from error

    def check(self) -> None:
        """Refuse an output, or a first row without a form, before anything is loaded or written.

        Raises:
            HarnessError: the output has another ending, is the input, or is there; the row has none
                of the columns; an option makes no sense, or would write over another's column.
        """
        if self.output.suffix not in output.ENDINGS:
            raise HarnessError(
                f"{self.output}: expected a name that ends with {' or '.join(output.ENDINGS)}"
            )
        given = Path(self.source.path).expanduser()
        if self.source.is_file and given.resolve() == self.output.resolve():
            raise HarnessError(f"{self.output} is the input; name another output")
        if self.output.exists() and not self.overwrite:
            raise HarnessError(f"{self.output} is there; name another output, or give --overwrite")
        if self.chosen.best_of and self.best_column in (self.column or REWARD, self.error_column):
            raise HarnessError(
                f"--column {self.column or REWARD} is where --best-of writes the best response; "
                "name another"
            )
        threshold = self.chosen.threshold
        if threshold is not None and math.isnan(threshold):
            raise HarnessError(f"--threshold {threshold}: no reward is at least that")
        for place, row in islice(self.rows(), 1):
            if self.output.suffix == ".jsonl":
                output.line(row)
            self.refuse_taken(place, row, self.new_columns(row))
            self.refuse_replaced(place, row, self._form(row))
            next(chunks([(place, row)], self.names, self.source.path, self.allow_markup))

    def new_columns(self, row: Mapping[str, Any], form: str = "") -> tuple[str, ...]:
        """The columns that a row gets.

        Args:
            row: it.
            form: of the row, where it is known.
        """
        form = form or self._form(row)
        return columns_of(form, self.column or REWARD, self.column is not None)

    def _form(self, row: Mapping[str, Any]) -> str:
        try:
            return form_of(row, self.names)[0]
        except HarnessError:
            return RESPONSE  # whatever it was meant to be

    @property
    def error_column(self) -> str:
        """The column that says why a row has no reward."""
        return f"{self.column or REWARD}_error"

    def refuse_taken(self, place: str, row: Mapping[str, Any], new: Sequence[str]) -> None:
        """Refuse a row that has one of the new columns.

        Raises:
            HarnessError: it has.
        """
        taken = next((name for name in (*new, self.error_column) if name in row), None)
        if taken is not None:
            raise HarnessError(
                f"{self.source.path}, {place} has the column {taken} already; name another with "
                "--column (what is scored so far is kept)"
            )

    @property
    def best_column(self) -> str:
        """The column that the best of several responses goes into."""
        return self.names.response or RESPONSE

    def refuse_replaced(self, place: str, row: Mapping[str, Any], form: str) -> None:
        """Refuse a row whose own answer the best of its responses would take the place of.

        Raises:
            HarnessError: it has one.
        """
        name = self.best_column
        if self.chosen.best_of and form == RESPONSES and row.get(name) is not None:
            raise HarnessError(
                f"{self.source.path}, {place} has the column {name} beside {self.names.responses}, "
                "and --best-of would replace it: name another for the best one with --columns "
                "'{response: NAME}'"
            )

    @property
    def parquet(self) -> Path | None:
        """The file of the rows, where that is Parquet."""
        path = Path(self.source.path).expanduser()
        return path if local_files.ending(path) == ".parquet" else None

    def count_rows(self) -> int | None:
        """How many rows there are, for the time that is left; None where only the Hub knows."""
        path = Path(self.source.path).expanduser()
        if not self.source.is_file:
            return self.limit
        if self.parquet is not None:
            import pyarrow.parquet

            try:
                count = int(pyarrow.parquet.read_metadata(path).num_rows)
            except (OSError, ValueError):  # told when it is read
                return None
        elif local_files.ending(path).startswith(".jsonl"):
            local_files.refuse_no_file(path)
            count = sum(part.count(b"\n") for part in archives.parts(path))
        else:
            count = sum(1 for _ in self.source.rows())
        return count if self.limit is None else min(count, self.limit)
