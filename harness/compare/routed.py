# SPDX-License-Identifier: Apache-2.0
"""What a routed run's samples say: who scored each row, and what others would have said."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.compare.samples import asked_by
from harness.compare.statistics import Comparison, compare
from harness.errors import HarnessError
from harness.models.routing.confusion import Confusion
from harness.runs.results import Run
from harness.tasks.base.routed import ORACLE

ROUTED = "routed"


@dataclass
class RoutedTask:
    """The rows of one task.

    Attributes:
        metric: the task's first.
        experts: that prompts are for, in the run's order.
        counts: rows by expert.
        went: (domain, expert) of each row whose domain is known.
        values: of the metric, by who scored: `ROUTED`, each expert where all scored, `ORACLE`.
        prompts: what tells the prompt of each row.
    """

    metric: str
    experts: tuple[str, ...]
    counts: Counter[str] = field(default_factory=Counter)
    went: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)

    @property
    def items(self) -> int:
        """Rows."""
        return self.counts.total()


@dataclass(frozen=True)
class RoutedRun:
    """A run of a routed model.

    Attributes:
        tasks: by name; those whose rows say who scored them.
        kind: what a score is.
        config: what the results say of the run.
    """

    tasks: Mapping[str, RoutedTask]
    kind: str
    config: Mapping[str, Any]

    @property
    def confusion(self) -> Confusion | None:
        """Domains and experts over all rows; None where no domain is known."""
        went = [pair for task in self.tasks.values() for pair in task.went]
        experts = next(iter(self.tasks.values())).experts if went else ()
        return Confusion(went, experts) if went else None

    def against(self, name: str) -> Comparison | None:
        """The router against an expert alone or the oracle, on all rows that both have.

        Each row counts once, whatever a benchmark's sections weigh.
        """
        strata = {
            task: (one.values[name], one.values[ROUTED])
            for task, one in self.tasks.items()
            if len(one.values.get(name, ())) == len(one.values[ROUTED]) > 0
        }
        prompts = {task: self.tasks[task].prompts for task in strata}
        return compare(strata, prompts=prompts) if strata else None

    def others(self) -> list[str]:
        """Whom the router can be held against: each expert, and the oracle."""
        names = dict.fromkeys(name for task in self.tasks.values() for name in task.values)
        return [name for name in names if name != ROUTED]


def is_routed(run: Run) -> bool:
    """Whether the run's first row says who scored it."""
    for file in run.leaves.values():
        with file.open(encoding="utf-8") as lines:
            first = next(lines, "")
        return "'expert':" in first and "'probabilities':" in first
    return False


def read_routed(run: Run) -> RoutedRun:
    """What the samples of a run say of its routing.

    Raises:
        HarnessError: a row that does not say who scored it.
    """
    tasks, kind = {}, ""
    for name, file in run.leaves.items():
        task, kind = _read(file)
        if task is not None:
            tasks[name] = task
    config = next(reversed(run.results.values()), {}).get("config", {})
    return RoutedRun(tasks, kind, config)


def _read(file: Path) -> tuple[RoutedTask | None, str]:
    task: RoutedTask | None = None
    kind = ""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            sample = json.loads(line)
            details = _details(sample, f"{file}, line {number}")
            metric = sample["metrics"][0]
            if not isinstance(sample[metric], int | float):
                return None, kind  # a score of several rows together
            if task is None:
                task = RoutedTask(metric, tuple(details["probabilities"]))
            kind = details["kind"]
            task.counts[details["expert"]] += 1
            task.prompts.append(asked_by(sample))
            if "domain" in details:
                task.went.append((details["domain"], details["expert"]))
            task.values.setdefault(ROUTED, []).append(float(sample[metric]))
            # Experts that stand beside have no probability, and score where all do.
            for other in dict.fromkeys((*task.experts, *details.get("experts", ()), ORACLE)):
                if f"{metric}_{other}" in sample:
                    value = float(sample[f"{metric}_{other}"])
                    task.values.setdefault(other, []).append(value)
    return task, kind


def _details(sample: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What the first answer says beside its number; lm-eval has made a text of it."""
    try:
        told = sample["filtered_resps"][0][2]
        details = ast.literal_eval(told) if isinstance(told, str) else told
        if isinstance(details, Mapping) and {"expert", "probabilities", "kind"} <= details.keys():
            return details
    except (KeyError, IndexError, TypeError, ValueError, SyntaxError):
        pass
    raise HarnessError(
        f"{where}: it does not say which expert scored it, as rows of --model reward-router do; "
        "were the runs of two models written to one folder?"
    )
