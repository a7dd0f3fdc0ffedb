# SPDX-License-Identifier: Apache-2.0
"""What was measured of a merge: its scores, what they cost, and the items behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.runs.results import Run, find_run
from harness.study import choose
from harness.study.choose import Score, SectionScore
from harness.study.point import Point
from harness.study.worker import Cost


@dataclass(frozen=True)
class TaskResult:
    """One task or group at one point.

    Attributes:
        task: its name.
        sections: its scores, the whole first.
        rising: whether a larger score is better.
        truncated: conversations that lost their beginning.
        cost: what it took.
        run: lm-eval's files, with an item for each row.
    """

    task: str
    sections: tuple[SectionScore, ...]
    rising: bool
    truncated: int
    cost: Cost
    run: Run

    @classmethod
    def read(cls, folder: Path, metric: str) -> TaskResult:
        """From the files that `harness.study.evaluate` writes.

        Args:
            folder: named by the task.
            metric: what the score is.

        Raises:
            HarnessError: files that are damaged, or have no such metric.
        """
        run = find_run(folder)
        (results,) = run.results.values()
        took = float(results["total_evaluation_time_seconds"])
        scores = results["results"]
        return cls(
            task=folder.name,
            sections=tuple(choose.sections(results, metric, folder)),
            rising=choose.is_rising(results, metric),
            truncated=sum(int(scores[leaf].get("truncated,none", 0)) for leaf in run.leaves),
            cost=Cost.of({**results["config"], "score_seconds": took}),
            run=run,
        )


@dataclass(frozen=True)
class Measurement:
    """A point on all rows of a role.

    Attributes:
        point: which merge.
        role: `SELECT` or `REPORT` of `harness.study.rows`.
        tasks: what was measured, by task.
    """

    point: Point
    role: str
    tasks: tuple[TaskResult, ...]

    @property
    def sections(self) -> list[SectionScore]:
        """The scores of all tasks."""
        return [section for task in self.tasks for section in task.sections]

    @property
    def score(self) -> Score:
        """The mean over the tasks."""
        return choose.mean_score(self.sections)

    @property
    def costs(self) -> list[Cost]:
        return [task.cost for task in self.tasks]

    @property
    def runs(self) -> list[Run]:
        return [task.run for task in self.tasks]
