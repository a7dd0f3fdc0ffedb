# SPDX-License-Identifier: Apache-2.0
"""Rows that begin alike, packed so that their beginning is computed once, and nothing is padded.

A tree is a common beginning and the rows' own endings behind it; trees stand one after another in
one sequence, behind their root, which is what all of them begin with (a chat template's tokens):

    tokens      s s   p p p p  a a a  b b    q q  c
    positions   0 1   2 3 4 5  6 7 8  6 7    2 3  4
    sees        the root, its tree's beginning and its own ending, never another ending or tree

In a model whose tokens meet in attention alone, and whose positions are those that it is given,
each row's states are then those of the row by itself. Whether a model is one is tried out
(`harness.models.score.sharing`), not read off its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Rows = Sequence[Sequence[int]]


def common_beginning(rows: Rows) -> int:
    """How many tokens all rows begin with alike."""
    shortest = min(rows, key=len)
    for index, token in enumerate(shortest):
        if any(row[index] != token for row in rows):
            return index
    return len(shortest)


def size(rows: Rows) -> int:
    """The tokens of the rows' tree."""
    common = common_beginning(rows)
    return common + sum(len(row) - common for row in rows)


# Tokens of a sequence, from the first to before the last.
Span = range


@dataclass(frozen=True)
class Tree:
    """Where a tree's parts are in a sequence.

    Attributes:
        beginning: what its rows share; empty for a row by itself.
        endings: of each row, in the rows' order; empty for a row that is the beginning of another.
        root: what the rows of all trees begin with, before that; empty where nothing is.
    """

    beginning: Span
    endings: tuple[Span, ...]
    root: Span

    def place(self, row: int, position: int) -> int:
        """Where a row's token is in the sequence."""
        for span in (self.root, self.beginning):
            if position < len(span):
                return span.start + position
            position -= len(span)
        return self.endings[row].start + position


@dataclass(frozen=True)
class Pack:
    """Several groups of rows as one sequence of trees, for one forward pass.

    Attributes:
        ids: the tokens.
        positions: of each token, its place in its own row.
        trees: where they are, in the order of the groups that they were made of.
    """

    ids: list[int]
    positions: list[int]
    trees: list[Tree]

    @classmethod
    def of(cls, groups: Sequence[Rows], root: int = 0) -> Pack:
        """A tree of each group of rows, whatever they share.

        Args:
            groups: of rows.
            root: tokens that all rows of all groups begin with, and that stand there once.
        """
        made = cls([], [], [])
        first = made._add(groups[0][0], 0, root)
        for rows in groups:
            common = common_beginning(rows) if len(rows) > 1 else root
            beginning = made._add(rows[0], root, common)
            endings = tuple(made._add(row, common, len(row)) for row in rows)
            made.trees.append(Tree(beginning, endings, first))
        return made

    def _add(self, row: Sequence[int], first: int, last: int) -> Span:
        start = len(self.ids)
        self.ids.extend(row[first:last])
        self.positions.extend(range(first, last))
        return Span(start, len(self.ids))


def parts(trees: Sequence[Tree]) -> Iterator[tuple[Span, list[Span]]]:
    """Each part of a pack in the order of its sequence, and what it sees, itself last."""
    root = trees[0].root
    if len(root):
        yield root, [root]
    for tree in trees:
        if len(tree.beginning):
            yield tree.beginning, [root, tree.beginning]
        for ending in tree.endings:
            if len(ending):
                yield ending, [root, tree.beginning, ending]
