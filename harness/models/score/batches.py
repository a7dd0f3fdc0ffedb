# SPDX-License-Identifier: Apache-2.0
"""Rows in batches: longest first, little padding, tokenized only when their turn comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from harness.models.score.tree import common_beginning

# Rows tokenized ahead to sort them by exact length; enough for even batches, small in memory.
WINDOW = 512


@dataclass
class Row:
    """One tokenized conversation; `number` is its place in the caller's order."""

    number: int
    ids: list[int]


@dataclass
class Limits:
    """How many rows and tokens one forward pass may take.

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
        yield from even(window, limit, may_share)


def even(
    rows: list[Row], limit: Callable[[int], int], may_share: Callable[[int, int], bool]
) -> Iterator[list[Row]]:
    """Batches of tokenized rows of like lengths, longest first; see `batches`."""
    rows = sorted(rows, key=lambda row: -len(row.ids))
    first = 0
    while first < len(rows):
        longest = len(rows[first].ids)
        most = max(1, limit(longest))
        end = first + 1
        while end < len(rows) and end - first < most and may_share(longest, len(rows[end].ids)):
            end += 1
        yield rows[first:end]
        first = end


def packs(
    sizes: Sequence[int],
    keys: Sequence[Hashable],
    tokenize: Callable[[int], list[int]],
    may_share: Callable[[Sequence[int]], bool],
    limits: Callable[[], Limits],
    alone: Callable[[list[Row]], Iterator[list[Row]]],
) -> Iterator[list[list[Row]]]:
    """Groups of rows that begin alike, as many as fit into one pass; roughly largest first.

    Args:
        sizes: an estimate of each row's length in any unit.
        keys: rows of equal key are those that may begin alike (the same prompt).
        tokenize: row number to token ids.
        may_share: whether rows of these lengths (in tokens) may be in one pass; a row that may not
            even by itself is none for a pass without padding.
        limits: asked for every pass, so that they may shrink on the way.
        alone: makes batches of these rows.
    """
    together: dict[Hashable, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        together[key].append(number)
    order = sorted(together.values(), key=lambda numbers: -sum(sizes[n] for n in numbers))
    pack: list[list[Row]] = []
    apart: list[Row] = []
    tokens = 0
    lengths: list[int] = []
    for numbers in order:
        rows: list[Row] = []
        for row in (Row(number, tokenize(number)) for number in numbers):
            (rows if may_share([len(row.ids)]) else apart).append(row)
        if len(apart) >= WINDOW:
            yield from ([[row] for row in batch] for batch in alone(apart))
            apart = []
        for more, group in _groups(rows, may_share, limits):
            most = limits()
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
    yield from ([[row] for row in batch] for batch in alone(apart))


def _groups(
    rows: list[Row], may_share: Callable[[Sequence[int]], bool], limits: Callable[[], Limits]
) -> Iterator[tuple[int, list[Row]]]:
    """Rows of one key as groups that fit, each with its tokens."""
    group: list[Row] = []
    tokens = common = 0
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        most = limits()
        if group:
            shared = min(common, common_beginning([group[0].ids, row.ids]))
            together = tokens + (common - shared) * (len(group) - 1) + len(row.ids) - shared
            if (
                len(group) < most.rows
                and together <= most.group
                and may_share([*(len(one.ids) for one in group), len(row.ids)])
            ):
                group.append(row)
                tokens, common = together, shared
                continue
            yield tokens, group
        group, tokens, common = [row], len(row.ids), len(row.ids)
    if group:
        yield tokens, group
