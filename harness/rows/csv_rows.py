# SPDX-License-Identifier: Apache-2.0
"""Rows of a table with a heading, as spreadsheets and data frames write it; every cell is text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows import archives

# Between cells; what stands most often in the heading counts.
DELIMITERS = (",", ";", "\t")
LONGEST = 2**31 - 1  # characters of a cell; Python's own limit is that of a short text


def read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows, each with the line that it ends on.

    Raises:
        HarnessError: no heading, a column twice, or a row of more or fewer cells; names the line.
    """
    lines = archives.lines(path)
    first = next(lines, "")
    delimiter = max(DELIMITERS, key=first.count)
    csv.field_size_limit(LONGEST)
    table = csv.reader(_with_first(first, lines), delimiter=delimiter, strict=True)
    try:
        heading = next(table, [])
        twice = next((name for name in heading if heading.count(name) > 1), None)
        if twice is not None:
            raise HarnessError(f"{path}: the column {twice!r} is there twice; rename one")
        for cells in table:
            if not cells:
                continue
            if len(cells) != len(heading):
                raise HarnessError(
                    f"{path}, line {table.line_num} has {len(cells)} cells, the heading has "
                    f"{len(heading)}; quote cells that hold {delimiter!r} or a line break"
                )
            yield f"line {table.line_num}", dict(zip(heading, cells, strict=True))
    except csv.Error as error:
        raise HarnessError(f"{path}, line {table.line_num} is not CSV: {error}") from error


def _with_first(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines
