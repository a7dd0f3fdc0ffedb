# SPDX-License-Identifier: Apache-2.0
"""Files of rows: which ones a folder has for a data set, and what is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

Row = dict[str, Any]

ENVIRONMENT = "DOGERM_DATA_DIR"

ENDINGS = (".jsonl", ".json", ".parquet")
BOM = b"\xef\xbb\xbf"
PARQUET_ROWS = 1024  # in memory at a time
# A file of a split is named after it, as such or as the Hub numbers its files.
SHARD = r"(-\d{5}-of-\d{5}.*)?"
SPLITS = re.compile(rf"(train|validation|valid|dev|test|raw|filtered){SHARD}")


def local_files(benchmark: str, folder: Path, split: str | None = None) -> list[Path]:
    """The files of a benchmark in a folder of local data; empty where it has none.

    Files named after `split` are taken alone (see `harness.datasets`).

    Raises:
        HarnessError: the folder is missing, it holds the benchmark twice, or it holds other splits
            and not this one.
    """
    if not folder.is_dir():
        raise HarnessError(f"the data folder {folder} ({ENVIRONMENT} or data_dir) does not exist")
    found = [folder / f"{benchmark}{ending}" for ending in ENDINGS]
    found = [path for path in found if path.is_file()]
    inside = folder / benchmark
    parts = sorted(path for path in inside.glob("*") if path.suffix in ENDINGS)
    if len(found) + bool(parts) > 1:
        names = ", ".join(str(path) for path in [*found, *([inside] if parts else [])])
        raise HarnessError(f"{benchmark} is there more than once ({names}); keep one of them")
    if split is None:
        return found or parts
    named = [path for path in parts if re.fullmatch(rf"{re.escape(split)}{SHARD}", path.stem)]
    others = [path.name for path in parts if SPLITS.fullmatch(path.stem)]
    if others and not named:
        raise HarnessError(
            f"{inside} has no file of split {split} (it has: {', '.join(others[:5])}); name the "
            f"file {split}.jsonl, .json or .parquet"
        )
    return found or named or parts


def read(path: Path) -> Iterator[Row]:
    """The rows of one JSONL, JSON (a list of rows) or Parquet file.

    Raises:
        HarnessError: the file is damaged or not what its ending says; names the line.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(PARQUET_ROWS):
                    yield from batch.to_pylist()
        except (OSError, ValueError) as error:
            raise HarnessError(f"{path} cannot be read as Parquet: {error}") from error
        return
    if path.suffix == ".json" and _is_list(path):
        try:
            values = json.loads(path.read_text("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise HarnessError(f"{path} is not UTF-8 text: {error}") from error
        except json.JSONDecodeError as error:
            raise HarnessError(f"{path} is not JSON: {error}") from error
        for number, value in enumerate(values, start=1):
            yield _object(value, f"{path}, row {number}")
        return
    # Decoded line by line: Python would tell of a wrong byte by its place in a part of the file.
    with path.open("rb") as lines:
        for number, data in enumerate(lines, start=1):
            try:
                line = data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise HarnessError(f"{path}, line {number} is not UTF-8 text: {error}") from error
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise HarnessError(
                    f"{path}, line {number} is not JSON: {error}; expected one JSON object a line"
                ) from error
            yield _object(value, f"{path}, line {number}")


def _is_list(path: Path) -> bool:
    """Whether a JSON file begins with a list, not with the object of its first line."""
    with path.open("rb") as file:
        start = file.read(3)
        file.seek(len(BOM) if start == BOM else 0)
        while character := file.read(1):
            if not character.isspace():
                return character == b"["
    return False


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise HarnessError(f"{where} is {type(value).__name__}, expected an object with columns")
    return value
