# SPDX-License-Identifier: Apache-2.0
"""Lines of a file, also of a packed one, and what is said of a damaged one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

PACKED = (".gz", ".zst")
PART = 1 << 20  # bytes read at a time


def lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends; a byte-order mark is left out.

    Raises:
        HarnessError: it can't be unpacked, or a line is no UTF-8 text; names the line.
    """
    for number, data in enumerate(_raw_lines(path), start=1):
        try:
            yield data.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise HarnessError(f"{path}, line {number} is not UTF-8 text: {error}") from error


def whole(path: Path) -> str:
    """The text of a file; errors as in `lines`."""
    try:
        return b"".join(parts(path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path} is not UTF-8 text: {error}") from error


def parts(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked, part after part.

    Raises:
        HarnessError: it can't be unpacked, or read.
    """
    try:
        with _opened(path) as file:
            while part := file.read(PART):
                yield part
    except (OSError, EOFError, zlib.error) as error:
        does = "unpacked" if path.suffix in PACKED else "read"
        raise HarnessError(f"{path} can't be {does}: {error}; it may be cut or damaged") from error


def _opened(path: Path) -> AbstractContextManager[Any]:
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zst":
        import pyarrow

        opened: AbstractContextManager[Any] = pyarrow.input_stream(str(path), compression="zstd")
        return opened
    return path.open("rb")


def _raw_lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for part in parts(path):
        pieces = (rest + part).split(b"\n")
        rest = pieces.pop()
        for line in pieces:
            yield line + b"\n"
    if rest:
        yield rest
