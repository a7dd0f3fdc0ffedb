# SPDX-License-Identifier: Apache-2.0
"""Rows in batches: longest first, little padding, tokenized only when their turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# Rows tokenized ahead to sort them by exact length; enough for even batches, small in memory.
WINDOW = 512


@dataclass
class Row:
    """One tokenized conversation; `number` is its place in the caller's order."""

    number: int
    ids: list[int]


def batches(
    sizes: Sequence[int],
    tokenize: Callable[[int], list[int]],
    limit: Callable[[int], int],
    may_share: Callable[[int, int], bool],
) -> Iterator[list[Row]]:
    """Batches of rows, roughly longest first, so that a batch too large for memory fails at once.

    Args:
        sizes: an estimate of each row's length in any unit (here characters).
        tokenize: row number to token ids.
        limit: the most rows in a batch whose longest has so many tokens; asked for every batch, so
            that it may shrink on the way.
        may_share: whether rows of two lengths may be in one batch.
    """
    order = sorted(range(len(sizes)), key=lambda number: -sizes[number])
    for start in range(0, len(order), WINDOW):
        window = [Row(number, tokenize(number)) for number in order[start : start + WINDOW]]
        window.sort(key=lambda row: -len(row.ids))
        first = 0
        while first < len(window):
            longest = len(window[first].ids)
            most = max(1, limit(longest))
            end = first + 1
            while (
                end < len(window)
                and end - first < most
                and may_share(longest, len(window[end].ids))
            ):
                end += 1
            yield window[first:end]
            first = end
