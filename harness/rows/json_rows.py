# SPDX-License-Identifier: Apache-2.0
"""Rows of JSON: an object a line, or one list of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows import archives
from harness.rows.text import is_deeper

Row = dict[str, Any]

# Lists and objects within each other; Python's own limit for what comes later is near 1,000.
DEEPEST = 200


def read(path: Path, may_be_list: bool = False) -> Iterator[tuple[str, Row]]:
    """The rows, each with its place: ``line 3``, or ``row 3`` of a list.

    Args:
        path: the file.
        may_be_list: it may hold one list of rows instead, as ``.json`` files do.

    Raises:
        HarnessError: a line is not JSON, or no object; names the line.
    """
    if may_be_list and _is_list(path):
        values = _parsed(archives.whole(path), str(path), "")
        for number, value in enumerate(values, start=1):
            yield f"row {number}", _object(value, f"{path}, row {number}")
        return
    for number, line in enumerate(archives.lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        value = _parsed(line, where, "; expected one JSON object a line")
        yield f"line {number}", _object(value, where)


def _is_list(path: Path) -> bool:
    """Whether a JSON file begins with a list, not with the object of its first line."""
    bytes_ = chain.from_iterable(archives.parts(path))
    for byte in bytes_:
        if byte not in b"\xef\xbb\xbf \t\r\n":
            return byte == ord("[")
    return False


def _parsed(text: str, where: str, advice: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        if text.count("[") + text.count("{") > DEEPEST and is_deeper(value, DEEPEST):
            raise RecursionError
        return value
    except RecursionError as error:
        raise HarnessError(f"{where} is not a row: it is nested too deep to be read") from error
    except HarnessError as error:
        raise HarnessError(f"{where}: {error}") from error
    except json.JSONDecodeError as error:
        raise HarnessError(f"{where} is not JSON: {error}{advice}") from error
    except ValueError as error:  # a number of thousands of digits
        raise HarnessError(f"{where} can't be read: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    """An object; of a key that is there twice, JSON readers keep the last value without a word."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise HarnessError(f"the key {twice!r} is there twice; keep one of them")
    return made


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise HarnessError(f"{where} is {type(value).__name__}, expected an object with columns")
    return value
