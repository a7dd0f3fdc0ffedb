# SPDX-License-Identifier: Apache-2.0
"""The candidates' values on every row, and how they differ from the general one's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.compare import hierarchy, statistics
from harness.compare.matching import match
from harness.errors import HarnessError
from harness.runs.results import find_run
from harness.show.candidates_file import Against, GroupScore

Values = Mapping[str, Mapping[int, float]]  # leaf -> doc_id -> value


@dataclass(frozen=True)
class TaskValues:
    """One variant on one task.

    Attributes:
        values: of every row.
        documents: leaf -> doc_id -> lm-eval's hash.
        prompts: leaf -> what tells the prompt of each row, in the order of the values.
        weights: what each leaf counts in the task.
        rising: whether a larger value is better.
        seconds: that it took to score.
    """

    values: Values
    documents: Mapping[str, Mapping[int, str]]
    prompts: Mapping[str, Sequence[str]]
    weights: Mapping[str, float]
    rising: bool
    seconds: float

    @property
    def score(self) -> float:
        """The weighted mean."""
        return sum(
            weight * math.fsum(self.values[leaf].values()) / len(self.values[leaf])
            for leaf, weight in self.weights.items()
        )

    @property
    def rows(self) -> int:
        return sum(map(len, self.values.values()))


def read_task(folder: Path, metric: str, include_path: Sequence[Path]) -> TaskValues:
    """Read a run of lm-eval's of one task or group.

    Args:
        folder: of the run, named by the task.
        metric: one number an item.
        include_path: folders with a user's own tasks.

    Raises:
        HarnessError: files that are damaged, or a group whose rule is no weighted mean.
    """
    run = find_run(folder)
    notes: list[str] = []
    matched = dict(match(run, run, metric, notes))
    name = folder.name
    if name in matched:
        weights = {name: 1.0}
    else:
        tree = hierarchy.tree_of(run, run)
        known = (
            hierarchy.weights_of(run, run, tree, matched, include_path, notes) if matched else {}
        )
        if name not in known:
            raise HarnessError(
                f"{name} can't be compared by {metric}: {'; '.join(notes) or 'no such number'}"
            )
        weights = known[name]
    items = {leaf: matched[leaf].pairs for leaf in weights}
    (results,) = run.results.values()
    known_as = metric.partition(",")[0]
    rising = [(run.latest(leaf, "higher_is_better") or {}).get(known_as, True) for leaf in weights]
    return TaskValues(
        values={leaf: {n: a.value for n, (a, _) in of.items()} for leaf, of in items.items()},
        documents={leaf: {n: a.document for n, (a, _) in of.items()} for leaf, of in items.items()},
        prompts={leaf: matched[leaf].prompts for leaf in weights},
        weights=weights,
        rising=all(rising),
        seconds=float(results["total_evaluation_time_seconds"]),
    )


@dataclass(frozen=True)
class Scored:
    """A candidate on all tasks, by seed; without one the only seed is None."""

    by_seed: Mapping[int | None, Mapping[str, TaskValues]]

    def mean(self, task: str) -> dict[str, dict[int, float]]:
        """Each row's value, the mean over seeds.

        Raises:
            HarnessError: two seeds were not scored on the same rows.
        """
        first, *others = [tasks[task] for tasks in self.by_seed.values()]
        for other in others:
            _check_same(task, first, other)
        count = len(self.by_seed)
        return {
            leaf: {
                n: math.fsum(tasks[task].values[leaf][n] for tasks in self.by_seed.values()) / count
                for n in values
            }
            for leaf, values in first.values.items()
        }

    def task(self, name: str) -> TaskValues:
        """Of the first seed."""
        return next(iter(self.by_seed.values()))[name]


def score(one: Scored, tasks: Sequence[str]) -> GroupScore:
    """A candidate's score on a group of tasks, their plain mean."""
    share = 1 / len(tasks)
    variance: float | None = 0.0
    total = {task: 0.0 for task in tasks}
    for task in tasks:
        values, weights = one.mean(task), one.task(task).weights
        for leaf, weight in weights.items():
            of_leaf = np.array(list(values[leaf].values()))
            total[task] += weight * float(of_leaf.mean())
            if len(of_leaf) < 2 or variance is None:
                variance = None
            else:
                variance += (share * weight) ** 2 * float(of_leaf.var(ddof=1)) / len(of_leaf)
    by_seed = {
        str(seed): share * math.fsum(values[task].score for task in tasks)
        for seed, values in one.by_seed.items()
        if seed is not None
    }
    return GroupScore(
        score=share * math.fsum(total.values()),
        stderr=None if variance is None else math.sqrt(variance),
        by_seed=by_seed,
        tasks=total,
    )


def against(
    general: Scored, others: Mapping[str, Scored], tasks: Sequence[str]
) -> dict[str, Against]:
    """Every candidate against the general one on a group of tasks; p is corrected over them.

    Args:
        general: what they are compared to.
        others: by name.
        tasks: of the group; each counts the same.

    Raises:
        HarnessError: two were not scored on the same rows.
    """
    rising = all(general.task(task).rising for task in tasks)
    found: dict[str, statistics.Comparison] = {}
    # a drawn p is at least 1 / (draws + 1), and Holm multiplies it by as many as there are
    draws = statistics.RESAMPLES * max(1, len(others))
    for name, one in others.items():
        strata, weights = {}, {}
        prompts: dict[str, Sequence[str]] = {}
        for task in tasks:
            prompts |= general.task(task).prompts
            _check_same(task, general.task(task), one.task(task))
            left, right = general.mean(task), one.mean(task)
            for leaf, weight in general.task(task).weights.items():
                strata[leaf] = (
                    [left[leaf][n] for n in left[leaf]],
                    [right[leaf][n] for n in left[leaf]],
                )
                weights[leaf] = weight / len(tasks)
        found[name] = statistics.compare(strata, weights, prompts=prompts, resamples=draws)
    corrected = statistics.holm([one.p for one in found.values()])
    return {
        name: Against(
            difference=one.difference,
            low=one.low,
            high=one.high,
            p=one.p,
            test=one.test,
            p_holm=p_holm,
            gained=one.risen if rising else one.fallen,
            lost=one.fallen if rising else one.risen,
        )
        for (name, one), p_holm in zip(found.items(), corrected, strict=True)
    }


def _check_same(task: str, one: TaskValues, other: TaskValues) -> None:
    if one.documents != other.documents:
        raise HarnessError(f"{task}: two candidates were not scored on the same rows: run it again")
