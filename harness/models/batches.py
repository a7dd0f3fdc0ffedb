# SPDX-License-Identifier: Apache-2.0
"""Rows in batches: longest first, little padding, tokenized only when their turn comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from harness.models.tree import size

# Rows tokenized ahead to sort them by exact length; enough for even batches, small in memory.
WINDOW = 512


@dataclass
class Row:
    """One tokenized conversation; `number` is its place in the caller's order."""

    number: int
    ids: list[int]


@dataclass
class Limits:
    """Of one pass.

    Attributes:
        rows: at most so many.
        tokens: of several groups together.
        group: tokens of one group of several rows; more of them are divided, and what they share
            is computed for each part.
    """

    rows: int
    tokens: int
    group: int


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


def packs(
    sizes: Sequence[int],
    keys: Sequence[Hashable],
    tokenize: Callable[[int], list[int]],
    may_share: Callable[[Sequence[int]], bool],
    limits: Callable[[], Limits],
) -> Iterator[list[list[Row]]]:
    """Groups of rows that begin alike, as many as fit into one pass; roughly largest first.

    Args:
        sizes: an estimate of each row's length in any unit.
        keys: rows of equal key are those that may begin alike (the same prompt).
        tokenize: row number to token ids.
        may_share: whether rows of these lengths (in tokens) may be in one pass.
        limits: asked for every pass, so that they may shrink on the way.
    """
    together: dict[Hashable, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        together[key].append(number)
    order = sorted(together.values(), key=lambda numbers: -sum(sizes[n] for n in numbers))
    pack: list[list[Row]] = []
    tokens = 0
    lengths: list[int] = []
    for numbers in order:
        rows = [Row(number, tokenize(number)) for number in numbers]
        for group in _groups(rows, may_share, limits):
            more, most = size([row.ids for row in group]), limits()
            fits = (
                len(lengths) + len(group) <= most.rows
                and tokens + more <= most.tokens
                and may_share([*lengths, *(len(row.ids) for row in group)])
            )
            if pack and not fits:
                yield pack
                pack, tokens, lengths = [], 0, []
            pack.append(group)
            tokens += more
            lengths += [len(row.ids) for row in group]
    if pack:
        yield pack


def _groups(
    rows: list[Row], may_share: Callable[[Sequence[int]], bool], limits: Callable[[], Limits]
) -> Iterator[list[Row]]:
    """Rows of one key as groups that fit."""
    group: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        larger, most = [*(one.ids for one in group), row.ids], limits()
        if group and (
            len(larger) > most.rows
            or size(larger) > most.group
            or not may_share([len(ids) for ids in larger])
        ):
            yield group
            group = []
        group.append(row)
    yield group
