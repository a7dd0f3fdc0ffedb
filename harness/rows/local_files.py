# SPDX-License-Identifier: Apache-2.0
"""Files of rows: which ones a folder has for a data set, and what is in them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows import csv_rows, json_rows
from harness.rows.archives import PACKED

Row = dict[str, Any]

ENVIRONMENT = "DOGERM_DATA_DIR"

ENDINGS = (".jsonl", ".json", ".parquet", ".csv")
PARQUET_ROWS = 1024  # in memory at a time
# A file of a split is named after it, as such or as the Hub numbers its files.
SHARD = r"(-\d{5}-of-\d{5}.*)?"
SPLITS = re.compile(rf"(train|validation|valid|dev|test|raw|filtered){SHARD}")


def ending(path: Path) -> str:
    """The ending of a file of rows, a packed one's both; empty where it is of another kind.

    >>> ending(Path("a.b.jsonl")), ending(Path("a.csv.gz")), ending(Path("a.txt"))
    ('.jsonl', '.csv.gz', '')
    """
    packed = path.suffix if path.suffix in PACKED else ""
    inner = Path(path.name.removesuffix(packed)).suffix
    return inner + packed if inner in (ENDINGS if not packed else _PACKABLE) else ""


_PACKABLE = tuple(kind for kind in ENDINGS if kind != ".parquet")


def stem(path: Path) -> str:
    """The name of a file of rows without its ending."""
    return path.name.removesuffix(ending(path))


def local_files(benchmark: str, folder: Path, split: str | None = None) -> list[Path]:
    """The files of a benchmark in a folder of local data; empty where it has none.

    Files named after `split` are taken alone (see `harness.rows.datasets`).

    Raises:
        HarnessError: the folder is missing, it holds the benchmark twice, or it holds other splits
            and not this one.
    """
    if not folder.is_dir():
        raise HarnessError(f"the data folder {folder} ({ENVIRONMENT} or data_dir) does not exist")
    kinds = [*ENDINGS, *(kind + packed for packed in PACKED for kind in _PACKABLE)]
    single = [folder / f"{benchmark}{kind}" for kind in kinds]
    single = [path for path in single if path.exists() and not path.is_dir()]
    inside = folder / benchmark
    parts = sorted(path for path in inside.rglob("*") if ending(path))
    if len(single) + bool(parts) > 1:
        names = ", ".join(str(path) for path in [*single, *([inside] if parts else [])])
        raise HarnessError(f"{benchmark} is there more than once ({names}); keep one of them")
    if split is None:
        return single or parts
    named = [path for path in parts if re.fullmatch(rf"{re.escape(split)}{SHARD}", stem(path))]
    others = [path.name for path in parts if SPLITS.fullmatch(stem(path))]
    if others and not named:
        raise HarnessError(
            f"{inside} has no file of split {split} (it has: {', '.join(others[:5])}); name the "
            f"file {split}.jsonl, .json or .parquet"
        )
    return single or named or parts


def read(path: Path) -> Iterator[Row]:
    """The rows of one JSONL, JSON (a list of rows), CSV or Parquet file, the former also packed.

    Raises:
        HarnessError: the file is damaged or not what its ending says; names the line.
    """
    for _, row in numbered(path):
        yield row


def numbered(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a file as `read`, each with the place that an editor shows: line or row.

    Raises:
        HarnessError: as `read`.
    """
    kind = ending(path)
    refuse_no_file(path)
    if kind == ".parquet":
        yield from _parquet(path)
    elif kind.startswith(".csv"):
        yield from csv_rows.read(path)
    else:
        yield from json_rows.read(path, may_be_list=not kind.startswith(".jsonl"))


def refuse_no_file(path: Path) -> None:
    """Refuse what can't be read to its end: a folder, a pipe, a device.

    Raises:
        HarnessError: it is one, or nothing is there.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise HarnessError(f"{path} is {kind}, expected a file of rows")


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow
    import pyarrow.parquet

    done = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:  # of which a row as a dict has the last one alone
                raise HarnessError(f"{path}: the column {twice!r} is there twice; rename one")
            for batch in file.iter_batches(PARQUET_ROWS):
                rows = batch.to_pylist()
                yield from ((f"row {at}", row) for at, row in enumerate(rows, start=done + 1))
                done += len(rows)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise HarnessError(f"{path} cannot be read as Parquet: {error}") from error
