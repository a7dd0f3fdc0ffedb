# SPDX-License-Identifier: Apache-2.0
"""Rows written as JSONL or Parquet, a batch in memory at a time, complete or not at all."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

from harness.errors import HarnessError
from harness.rows.local_files import PARQUET_ROWS
from harness.runs.atomic import complete

Row = dict[str, Any]

ENDINGS = (".jsonl", ".parquet")


def write(path: Path, rows: Callable[[], Iterable[Row]], source: Path | None = None) -> int:
    """Write rows; the number of them.

    Args:
        path: ends with one of `ENDINGS`.
        rows: reads them from the beginning.
        source: the Parquet file that they were in, whose types stay.

    Raises:
        HarnessError: the file can't be written, or Parquet has no type for what a column holds.
    """
    count = 0

    def counted() -> Iterator[Row]:
        nonlocal count
        for row in rows():
            count += 1
            yield row

    with complete(path) as partial:
        if path.suffix == ".parquet":
            _parquet(partial, rows, counted, source, path)
        else:
            with partial.open("wb") as file:
                file.writelines(line(row) for row in counted())
    return count


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while some := list(islice(iterator, PARQUET_ROWS)):
        yield some


def line(row: Row) -> bytes:
    """A row as a line of JSON.

    Raises:
        HarnessError: it holds what JSON has no type for.
    """
    try:
        return (json.dumps(row, ensure_ascii=False, default=_plain) + "\n").encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only escape
        return (json.dumps(row, default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        raise HarnessError("a column holds bytes, which JSON has no type for; write .parquet")
    if isinstance(value, Decimal | UUID | datetime.timedelta):
        return str(value)
    raise HarnessError(  # an image, say, of which a text would keep nothing
        f"a column holds a {type(value).__name__}, which JSON has no type for; leave it out"
    )


def _parquet(
    partial: Path,
    rows: Callable[[], Iterable[Row]],
    counted: Callable[[], Iterable[Row]],
    source: Path | None,
    path: Path,
) -> None:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = _schema(rows, source)
        with pyarrow.parquet.ParquetWriter(partial, schema) as writer:
            for some in _batches(counted()):
                writer.write_table(pyarrow.Table.from_pylist(some, schema))
    except (pyarrow.ArrowException, UnicodeEncodeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise HarnessError(
            f"{path}: the rows have no types in common ({reason}); write .jsonl, which needs none"
        ) from error


def _schema(rows: Callable[[], Iterable[Row]], source: Path | None) -> Any:
    """The columns and types of all rows; a Parquet file's own where it has the column."""
    import pyarrow
    import pyarrow.parquet

    before = [] if source is None else pyarrow.parquet.read_schema(source)
    known = {f.name: f for f in before if not pyarrow.types.is_null(f.type)}  # which may be filled
    made = pyarrow.schema([])
    names: dict[str, None] = {}
    for some in _batches(rows()):
        found = {name: None for row in some for name in row}
        names |= found
        new = [name for name in found if name not in known]
        table = pyarrow.table({n: pyarrow.array([row.get(n) for row in some]) for n in new})
        made = pyarrow.unify_schemas([made, table.schema], promote_options="permissive")
    return pyarrow.schema([known.get(name) or made.field(name) for name in names])
