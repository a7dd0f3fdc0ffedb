# SPDX-License-Identifier: Apache-2.0
"""Finds the items that two runs both have, and says what is left out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from harness.compare import samples
from harness.compare.prompt_pairs import AloneError
from harness.compare.samples import Item, Leaf
from harness.errors import HarnessError
from harness.runs.results import Run


@dataclass(frozen=True)
class Matched:
    """The items of one task that both runs have, in the order of doc_id."""

    metric: str
    pairs: dict[int, tuple[Item, Item]]
    left_out: tuple[int, int]
    kinds: tuple[frozenset[str], frozenset[str]]

    @property
    def values(self) -> tuple[list[float], list[float]]:
        pairs = self.pairs.values()
        return [a.value for a, _ in pairs], [b.value for _, b in pairs]

    @property
    def prompts(self) -> list[str]:
        """What tells each item's prompt."""
        return [a.asked for a, _ in self.pairs.values()]

    @property
    def rows(self) -> int:
        """How many documents the items are."""
        return sum(a.documents for a, _ in self.pairs.values())


def match(a: Run, b: Run, metric: str, notes: list[str]) -> Iterator[tuple[str, Matched]]:
    """Each task that both runs have, with the items that both have of it.

    Args:
        a: one side.
        b: the other.
        metric: of the tasks; ``name,filter`` where they have several filters.
        notes: gets what is left out and why.

    Raises:
        HarnessError: other data under the same name, or no item in common.
    """
    for run, other in ((a, b), (b, a)):
        lonely = sorted(set(run.leaves) - set(other.leaves))
        if lonely and set(run.leaves) & set(other.leaves):
            notes.append(f"left out, as only {run.path} has them: {_listed(lonely)}")
    without: list[str] = []
    for name in sorted(set(a.leaves) & set(b.leaves)):
        try:
            left, right = (samples.read_leaf(run.leaves[name], metric) for run in (a, b))
        except AloneError as error:
            notes.append(f"{name}: left out, as {error}")
            continue
        if left is None or right is None:
            without.append(name)
            continue
        if left.metric != right.metric:
            raise HarnessError(f"{name}: A has {left.metric}, B has {right.metric}")
        if not all(_is_mean(run, name, leaf, notes) for run, leaf in ((a, left), (b, right))):
            continue
        common = sorted(set(left.items) & set(right.items))
        if not common:
            raise HarnessError(f"{name}: no item is in both {left.file} and {right.file}")
        for doc_id in common:
            if left.items[doc_id].document != right.items[doc_id].document:
                raise HarnessError(
                    f"{name}: doc_id {doc_id} is not the same document in {left.file} and "
                    f"{right.file}; evaluate both models on the same data file and task version"
                )
        lost = len(left.items) - len(common), len(right.items) - len(common)
        if any(lost):
            notes.append(
                f"{name}: {len(common)} items compared; left out: {lost[0]} that only A has, "
                f"{lost[1]} that only B has"
            )
        versions = [run.latest(name, "versions") for run in (a, b)]
        if None not in versions and versions[0] != versions[1]:
            notes.append(f"{name}: A is of version {versions[0]}, B of version {versions[1]}")
        pairs = {doc_id: (left.items[doc_id], right.items[doc_id]) for doc_id in common}
        matched = Matched(left.metric, pairs, lost, (left.kinds, right.kinds))
        if matched.rows > len(pairs):
            notes.append(f"{name}: an item is two prompts, ref:n and tied:n, which count together")
        yield name, matched
    if without:
        notes.append(
            f"left out, as they have no {metric} of one number an item: {_listed(without)}"
        )


def _listed(names: list[str], most: int = 8) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more)


def agrees(run: Run, name: str, metric: str, ours: float) -> bool:
    """Whether a score is the one in the results file; true where there is none to hold it to."""
    theirs = (run.latest(name, "results") or {}).get(metric)
    if not isinstance(theirs, int | float):
        return True
    return math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-9)


def _is_mean(run: Run, name: str, leaf: Leaf, notes: list[str]) -> bool:
    mean = math.fsum(item.value for item in leaf.items.values()) / len(leaf.items)
    if agrees(run, name, leaf.metric, mean):
        return True
    notes.append(
        f"{name}: left out, as its {leaf.metric} in the results of {run.path} is not the mean of "
        f"its items, {mean:.6g}"
    )
    return False


def nothing_in_common(a: Run, b: Run, metric: str) -> str:
    """The error message where there is nothing to compare."""
    common = sorted(set(a.leaves) & set(b.leaves))
    if not common:
        return (
            f"no task in common: {a.path} has {', '.join(sorted(a.leaves))}; "
            f"{b.path} has {', '.join(sorted(b.leaves))}"
        )
    has = samples.comparable_metrics(a.leaves[common[0]])
    close = difflib.get_close_matches(metric, has, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"no task has {metric} as one number an item whose mean is the task's score; "
        f"{common[0]} has {', '.join(has)}: choose with --metric{guess}"
    )
