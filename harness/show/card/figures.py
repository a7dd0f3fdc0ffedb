# SPDX-License-Identifier: Apache-2.0
"""What a results file tells of the merged model, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import HarnessError
from harness.show.blocks import Block
from harness.show.card.benchmarks import Benchmark


@dataclass(frozen=True)
class Score:
    """One measured number of a task or group, and how it is shown.

    Attributes:
        label: the name as it is shown, such as ``rewardbench2 (partial: 2 of 6 subsets)``.
        depth: how many groups it is in.
        metric: with the filter, where there is one: ``exact_match (strict-match)``.
        stderr: None where there is none, as of a single item.
        chose: whether its rows chose λ, so that it is no test score.
    """

    name: str
    label: str
    depth: int
    metric: str
    value: float
    stderr: float | None
    items: int
    chose: bool = False


@dataclass
class Figures:
    """What one ``--results`` tells of the merged model: scores, how λ was chosen, what to know.

    Attributes:
        scores: of the merged model.
        benchmarks: section -> its data set.
        beside: heading -> section -> another model's score, such as the reward model's.
        title: heading of the column of `scores`.
        how: how λ was chosen; empty where it is not known.
        comparison: with the reward model, item by item; empty where there is none.
        selection: the tasks whose rows chose λ, and their leaves.
        tree: group -> its direct members; None where `scores` are known to be of other rows than
            those that chose λ.
        made: command, settings and versions.
        notes: what a reader must know.
        warnings: what only the user who makes the card must know.
    """

    path: Path
    scores: list[Score]
    benchmarks: dict[str, Benchmark]
    title: str = "this model"
    beside: dict[str, dict[str, Score]] = field(default_factory=dict)
    how: list[Block] = field(default_factory=list)
    comparison: list[Block] = field(default_factory=list)
    selection: frozenset[str] = frozenset()
    tree: dict[str, list[str]] | None = None
    made: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_no_two_alike(figures: Sequence[Figures]) -> None:
    """Refuse two results that report the same figure: one of them would be hidden.

    Raises:
        HarnessError: names both files and the figure.
    """
    seen: dict[tuple[str, str], Path] = {}
    for result in figures:
        for score in result.scores:
            first = seen.setdefault((score.name, score.metric), result.path)
            if first != result.path:
                raise HarnessError(
                    f"{first} and {result.path} both have {score.metric} of {score.name}, expected "
                    "it once: leave one of the two --results out"
                )


def mark_selection(figures: Sequence[Figures]) -> None:
    """Mark the scores on rows that chose λ, by any of these results: they are no test scores."""
    from harness.runs.group_tree import leaves_below

    selection = frozenset(name for result in figures for name in result.selection)
    for result in figures:
        tree = result.tree
        if tree is not None:
            result.scores = [
                replace(score, chose=not selection.isdisjoint(leaves_below(score.name, tree)))
                for score in result.scores
            ]
