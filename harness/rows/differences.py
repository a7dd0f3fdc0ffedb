# SPDX-License-Identifier: Apache-2.0
"""In what two conversations differ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from harness.rows.messages import Message


def differing_keys(one: Sequence[Message], other: Sequence[Message]) -> list[str]:
    """The keys of messages in which two conversations differ, ``turns`` where one has more.

    >>> differing_keys([{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}])
    ['content']
    """
    keys: dict[str, None] = {}
    for a, b in zip_longest(one, other):
        if a is None or b is None:
            keys["turns"] = None
            continue
        keys.update((key, None) for key in (*a, *b) if a.get(key) != b.get(key))
    return list(keys)


def differ_in_blanks(one: Sequence[Message], other: Sequence[Message]) -> bool:
    """Whether two conversations are the same but for blanks around their texts."""
    return len(one) == len(other) and all(
        {**a, "content": str(a.get("content", "")).strip()}
        == {**b, "content": str(b.get("content", "")).strip()}
        for a, b in zip(one, other, strict=True)
    )
