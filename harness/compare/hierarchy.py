# SPDX-License-Identifier: Apache-2.0
"""The groups that two runs report, and what each task counts in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.compare import groups
from harness.compare.matching import Matched
from harness.errors import HarnessError
from harness.runs.results import Run


def tree_of(a: Run, b: Run) -> dict[str, list[str]]:
    """Group -> members; what both runs know, for a single samples file knows no groups."""
    tree: dict[str, list[str]] = {}
    if a.whole and b.whole:
        for run in (b, a):
            for found in run.results.values():
                tree.update(found.get("group_subtasks", {}))
    return tree


def weights_of(
    a: Run,
    b: Run,
    tree: Mapping[str, list[str]],
    matched: Mapping[str, Matched],
    include_path: Sequence[Path],
    notes: list[str],
) -> dict[str, dict[str, float]]:
    """The leaves' weights of each group that has a number in both results."""
    key = next(iter(matched.values())).metric
    names = [
        name
        for name in tree
        if all(key in (run.latest(name, "results") or {}) for run in (a, b)) and name not in matched
    ]
    configs = {name: a.latest(name, "configs") or {} for name in matched}
    known = {group: [name for name in tree[group] if name in matched] for group in names}
    rules = groups.definitions(names, include_path, groups.own_data(known, configs))
    leaves = {
        name: groups.LeafWeight(found.rows, (configs[name].get("metadata") or {}).get("weight"))
        for name, found in matched.items()
    }
    weights, partial, lacking = {}, [], []
    unknown: dict[str, list[str]] = {}
    for name in names:
        below = set(groups.leaves_below(name, tree))
        if below & (set(a.leaves) | set(b.leaves)) - set(matched):
            lacking.append(name)
            continue
        try:
            weights[name] = groups.leaf_weights(name, key.partition(",")[0], tree, leaves, rules)
        except HarnessError as error:
            unknown.setdefault(str(error), []).append(name)
            continue
        if below - set(matched):
            partial.append(f"{name} {len(below & set(matched))} of {len(below)}")
    for why, those in unknown.items():
        notes.append(f"not compared, as {why}: {', '.join(those)}")
    if lacking:
        notes.append(f"not compared, as a task of theirs is left out: {', '.join(lacking)}")
    if partial:
        notes.append(f"partial, as there was no data for the others: {', '.join(partial)} tasks")
    return weights


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
