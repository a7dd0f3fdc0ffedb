# SPDX-License-Identifier: Apache-2.0
"""The groups that two runs report, and what each task counts in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.compare import groups
from harness.compare.matching import Matched
from harness.errors import HarnessError
from harness.runs.group_tree import leaves_below
from harness.runs.results import Run


def tree_of(a: Run, b: Run) -> dict[str, list[str]]:
    """Group -> members; what both runs know, for a single samples file knows no groups."""
    tree: dict[str, list[str]] = {}
    if a.whole and b.whole:
        for run in (b, a):
            for results in run.results.values():
                tree.update(results.get("group_subtasks", {}))
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
        name: groups.LeafWeight(pairs.rows, (configs[name].get("metadata") or {}).get("weight"))
        for name, pairs in matched.items()
    }
    weights, partial, lacking = {}, [], []
    unknown: dict[str, list[str]] = {}
    for name in names:
        below = set(leaves_below(name, tree))
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
