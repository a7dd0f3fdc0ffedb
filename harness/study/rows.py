# SPDX-License-Identifier: Apache-2.0
"""The rows that choose λ and the rows that prove it: loaded once, never the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows.documents import TRANSLATION_OF
from harness.runs.quiet import quiet
from harness.study import division, task_names
from harness.tasks.base.candidates import CandidateTask
from harness.tasks.base.fingerprint import fingerprint
from harness.tasks.base.metrics import COUNTS
from harness.tasks.base.task_index import task_manager

SELECT, REPORT = "select", "report"


@dataclass(frozen=True)
class Rows:
    """One task or group that the user named, with its data.

    Attributes:
        name: of the task or group.
        loaded: lm-eval's ``TaskDict``.
        role: `SELECT` or `REPORT`.
    """

    name: str
    loaded: dict[str, Any]
    role: str

    @property
    def leaves(self) -> Mapping[str, CandidateTask]:
        leaves: dict[str, CandidateTask] = self.loaded["tasks"]
        return leaves

    def prompts(self) -> set[str]:
        """The texts of all prompts."""
        return {
            division.prompt(doc) for task in self.leaves.values() for doc in division.docs(task)
        }

    def originals(self) -> set[str]:
        """What the prompts are translations of, where their documents say so."""
        docs = (doc for task in self.leaves.values() for doc in division.docs(task))
        return {str(doc[TRANSLATION_OF]) for doc in docs if TRANSLATION_OF in doc}

    def digest(self) -> str:
        """A digest that changes with any document, with the groups and with the tasks' settings."""
        return fingerprint(self.loaded)


def load(
    select: Sequence[str],
    report: Sequence[str],
    *,
    split: float | None = None,
    include_path: Sequence[Path] = (),
    metadata: Mapping[str, Any] | None = None,
) -> list[Rows]:
    """The rows of all tasks, those that select first.

    Args:
        select: tasks, groups, globs or YAML files that choose.
        report: those that are looked at for the chosen weight and the ends only.
        split: the share of the prompts of `select` that choose; the others are reported.
        include_path: folders with a user's own tasks.
        metadata: as lm-eval's ``--metadata``.

    Raises:
        HarnessError: an unknown task; one that gives no number for a candidate; a task named twice;
            a prompt that is on both sides.
    """
    manager = task_manager(include_path, metadata=metadata)
    chosen = [Rows(*one, SELECT) for one in task_names.load(manager, select)]
    proving = [Rows(*one, REPORT) for one in task_names.load(manager, report)]
    _refuse_twice(chosen)
    _refuse_twice(proving)
    if split is not None:
        with quiet():  # the same warnings as before
            others = [Rows(*one, REPORT) for one in task_names.load(manager, select)]
        division.divide(
            [one.leaves for one in chosen], [one.leaves for one in others], split, "--split-select"
        )
        proving = [*others, *proving]
    _refuse_shared(chosen, proving, split)
    return [*chosen, *proving]


def check_metric(rows: Sequence[Rows], metric: str) -> None:
    """Refuse a metric that some rows don't have, before hours are spent on them.

    Args:
        rows: all of them.
        metric: ``NAME`` or ``NAME,FILTER``.

    Raises:
        HarnessError: names those there are.
    """
    name = metric.partition(",")[0]
    for one in rows:
        known = set.intersection(*(set(task.aggregation()) for task in one.leaves.values()))
        known -= set(COUNTS)
        if name not in known:
            raise HarnessError(
                f"{one.name} has no metric {name!r} (it has: {', '.join(sorted(known))}); choose "
                "with --metric one that all tasks have"
            )


def _refuse_twice(rows: Sequence[Rows]) -> None:
    """Refuse a task that is there twice: its rows would count twice."""
    seen: dict[str, Rows] = {}
    for one in rows:
        for leaf in one.leaves:
            first = seen.setdefault(leaf, one)
            if first is not one:
                raise HarnessError(
                    f"--{one.role}: {leaf} is there twice, in {first.name} and in {one.name}: name "
                    "one of them"
                )


def _refuse_shared(chosen: Sequence[Rows], proving: Sequence[Rows], split: float | None) -> None:
    where: dict[str, str] = {}
    for one in chosen:
        where.update(dict.fromkeys(one.prompts() | one.originals(), one.name))
    for one in proving:
        shared = sorted(one.prompts() & where.keys()) or sorted(one.originals() & where.keys())
        if shared:
            advice = (
                "report other tasks, or divide one by its prompts with --split-select 0.2"
                if split is None
                else f"leave {one.name} out of --report, which has the rest of --select already"
            )
            raise HarnessError(
                f"{len(shared)} prompts of {one.name} are also in {where[shared[0]]}, which "
                f"chooses λ ({shared[0][:60]!r}): a gain on them would prove nothing; {advice}"
            )
