# SPDX-License-Identifier: Apache-2.0
"""The groups of a results file, as its ``group_subtasks`` has them: group -> its direct members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def leaves_below(name: str, tree: Mapping[str, Sequence[str]]) -> list[str]:
    """The leaf tasks of a group at whatever depth, once each; a leaf's own name."""
    if not tree.get(name):
        return [name]
    return list(dict.fromkeys(leaf for child in tree[name] for leaf in leaves_below(child, tree)))


def order_of(tree: Mapping[str, list[str]], names: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Names with their depth: a group before its members, tasks outside of groups last."""
    order: dict[str, int] = {}

    def visit(name: str, depth: int) -> None:
        if name in names:
            order.setdefault(name, depth)
        for child in tree.get(name, ()):
            visit(child, depth + (name in names))

    children = {child for members in tree.values() for child in members}
    for name in tree:
        if name not in children:
            visit(name, 0)
    for name in names:
        order.setdefault(name, 0)
    return list(order.items())
