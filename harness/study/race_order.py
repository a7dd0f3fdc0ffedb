# SPDX-License-Identifier: Apache-2.0
"""The selection rows in the order of a race: units that stay together, in equal parts.

A unit is all rows, of whatever task, that belong together (`harness.study.division.together`). The
units' order is that of a digest of their texts: fixed, the same for every point, every run and
every machine, and it has nothing to do with the files' order. There are as many such orders as
names; that without one is a sweep's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from harness.rows.documents import Docs
from harness.study.division import place, together
from harness.study.rows import Rows

# Where a store has the parts, beside the roles' rows.
RACE = "race"
# Of the digest that orders units; another one than those that divide rows elsewhere.
SALT = "dogerm race 1"


class Part(NamedTuple):
    """One of so many equal parts of an order, from 1; its text is that of a folder's name."""

    number: int
    of: int
    order: str = ""

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"


class Order:
    """The units of all selection rows.

    Args:
        rows: of all tasks that select.
        name: the order's.

    Attributes:
        name: the order's.
        tasks: that select.
        units: how many there are.
        rows: how many rows there are.
    """

    def __init__(self, rows: Sequence[Rows], name: str = "") -> None:
        self.name = name
        self.tasks = list(rows)
        leaves = [task for one in rows for task in one.leaves.values()]
        root = together(leaves)
        in_order = sorted(set(root.values()), key=lambda unit: place(unit, SALT + name))
        self._number = {unit: index for index, unit in enumerate(in_order)}
        self._units: dict[str, list[int]] = {
            leaf: [self._number[root[task.unit(doc)]] for doc in _docs(task)]
            for one in rows
            for leaf, task in one.leaves.items()
        }
        self.units = len(in_order)
        self.rows = sum(map(len, self._units.values()))

    def ends(self, part: Part) -> tuple[int, int]:
        """The first unit of a part, and the first that comes after it."""
        first, last = (math.ceil(self.units * n / part.of) for n in (part.number - 1, part.number))
        return first, last

    def numbers(self, leaf: str, part: Part) -> list[int]:
        """Which of a leaf's documents are in a part, in their own order."""
        first, last = self.ends(part)
        return [n for n, unit in enumerate(self._units[leaf]) if first <= unit < last]

    def has_any(self, rows: Rows, part: Part) -> bool:
        """Whether a task or group has any row in a part."""
        return any(self.numbers(leaf, part) for leaf in rows.leaves)

    def rows_until(self, unit: int) -> int:
        """How many rows the units before this one have."""
        return sum(one < unit for units in self._units.values() for one in units)

    @contextmanager
    def part(self, rows: Rows, part: Part) -> Iterator[Rows]:
        """The rows of a part, of those leaf tasks that have any: no group has a score there."""
        wanted = {leaf: self.numbers(leaf, part) for leaf in rows.leaves}
        tasks = {leaf: rows.leaves[leaf] for leaf, numbers in wanted.items() if numbers}
        whole = {leaf: _docs(task) for leaf, task in tasks.items()}
        try:
            for leaf, task in tasks.items():
                _set_docs(task, Docs(whole[leaf][number] for number in wanted[leaf]))
            yield Rows(rows.name, {"tasks": tasks, "groups": {}, "group_map": {}}, rows.role)
        finally:
            for leaf, task in tasks.items():
                _set_docs(task, whole[leaf])

    def places_in(self, other: Order) -> list[int]:
        """Where each of the units, in this order, is in another order of the same rows."""
        return [other._number[unit] for unit in self._number]

    def of_leaf(self, leaf: str) -> list[int]:
        """The unit of each document of a leaf."""
        return self._units[leaf]


def _docs(task: Any) -> Docs:
    docs: Docs = task.dataset[task.config.test_split]
    return docs


def _set_docs(task: Any, docs: Docs) -> None:
    task.dataset[task.config.test_split] = docs
