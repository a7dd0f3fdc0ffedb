# SPDX-License-Identifier: Apache-2.0
"""Values of a row that a tokenizer and a template can take: whole text, and plain JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import HarnessError

_SURROGATE = re.compile("[\ud800-\udfff]")
SHOWN = 40  # characters of a value in a message
DEEPEST = 100  # lists and objects within each other


def shown(value: Any) -> str:
    """The type and the beginning of a value, for a message.

    >>> shown([])
    "list '[]'"
    """
    if value is None:
        return "empty (null)"
    return f"{type(value).__name__} {str(value)[:SHOWN]!r}"


def refuse_broken(text: str, name: str) -> None:
    r"""Refuse half a surrogate pair, as a cut emoji leaves it in JSON (``"\ud83d"``).

    Raises:
        HarnessError: there is one; no tokenizer can take it.
    """
    half = _SURROGATE.search(text)
    if half is not None:
        raise HarnessError(
            f"{name} holds half a surrogate pair ({ascii(half[0])[1:-1]}) at character "
            f"{half.start() + 1}, as a cut emoji leaves it; it is no text: correct it, or leave "
            "the row out"
        )


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """The value in JSON types, tuples as lists.

    Raises:
        HarnessError: it holds something else (bytes, dates, ...), broken text, or is nested too
            deep for the hosts.
    """
    if depth > DEEPEST:
        raise HarnessError(f"{name} holds lists or objects nested deeper than {DEEPEST}")
    if isinstance(value, str):
        refuse_broken(value, name)
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, name, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, name, depth + 1) for item in value]
    raise HarnessError(
        f"{name} holds {shown(value)}, expected text, numbers, lists and objects, as in JSON"
    )


def is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested deeper than `most`."""
    level = [value]
    for _ in range(most + 1):
        level = [
            item
            for part in level
            if isinstance(part, list | tuple | Mapping)
            for item in (part.values() if isinstance(part, Mapping) else part)
        ]
    return bool(level)


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys of objects left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)
