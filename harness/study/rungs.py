# SPDX-License-Identifier: Apache-2.0
"""A growing part of the selection rows, on which a poor trial shows early."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from harness.rows.documents import Docs
from harness.study.division import place
from harness.study.rows import Rows

# Each twice the last, as successive halving wants it.
SHARES = (0.25, 0.5, 1.0)

# Of the digest that orders prompts; another one than that which divides selection from report.
SALT = "dogerm rung 1"


@contextmanager
def part(rows: Rows, share: float) -> Iterator[Rows]:
    """Leave a task or group only this share of its documents for a while.

    Of each leaf those whose prompts come first in the order of their digests, at least one: a
    larger share has all documents of a smaller one, and the order has nothing to do with the file.
    """
    whole = {name: task.dataset[task.config.test_split] for name, task in rows.leaves.items()}
    try:
        if share < 1:
            for name, task in rows.leaves.items():
                units = {task.unit(doc) for doc in whole[name]}
                in_order = sorted(units, key=lambda unit: place(unit, SALT))
                kept = set(in_order[: math.ceil(share * len(units))])
                docs = Docs(doc for doc in whole[name] if task.unit(doc) in kept)
                task.dataset[task.config.test_split] = docs
        yield rows
    finally:
        for name, task in rows.leaves.items():
            task.dataset[task.config.test_split] = whole[name]
