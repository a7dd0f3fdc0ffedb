# SPDX-License-Identifier: Apache-2.0
"""RewardMATH: a problem is right when its right solution beats all nine wrong ones.

Kim et al., arXiv 2410.01729, section 4; the repository's ``src/evaluation/eval.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.documents import Document
from harness.tasks.base.one_right import OneRight

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

REJECTED = 9  # wrong solutions of a problem


def check(row: Mapping[str, Any]) -> None:
    """Refuse a row that is no list of steps, or neither chosen nor rejected.

    Raises:
        HarnessError: see the message.
    """
    if not all(isinstance(step, str) for step in row["eval_solution"]):
        raise HarnessError(
            f"column eval_solution is {str(row['eval_solution'])[:40]}, expected a list of texts"
        )
    if row["solution_type"] not in ("chosen", "rejected"):
        raise HarnessError(
            f"column solution_type is {row['solution_type']!r}, expected chosen or rejected"
        )


@dataclass(frozen=True)
class SolutionSchema(datasets.Schema):
    """Rows of one solution each, and what the rows of a problem must be together."""

    def check(self, rows: Iterable[Mapping[str, Any]], source: str) -> None:
        """Check every row, then every problem.

        Raises:
            HarnessError: as in `harness.rows.datasets.Schema.check`; a problem with two wordings,
                without exactly one right solution, or without a wrong one (by ``problem_id``).
        """
        rows = list(rows)
        super().check(rows, source)
        problems = by_problem(rows)
        for number, solutions in problems.items():
            where = f"{source}, problem_id {number!r}"
            if len({row["problem"] for row in solutions}) > 1:
                raise HarnessError(f"{where}: the rows differ in column problem, expected one text")
            chosen = sum(row["solution_type"] == "chosen" for row in solutions)
            if chosen != 1 or len(solutions) == 1:
                raise HarnessError(
                    f"{where}: {chosen} chosen and {len(solutions) - chosen} rejected solutions, "
                    f"expected 1 and {REJECTED}"
                )
        other = [number for number, solutions in problems.items() if len(solutions) != 1 + REJECTED]
        if other:
            logger.warning(
                "%s: %d of %d problems do not have %d rejected solutions, the first is problem_id "
                "%r; all that they have are compared, so the scores are not comparable with "
                "published ones",
                source,
                len(other),
                len(problems),
                REJECTED,
                other[0],
            )
        empty = sum(not "".join(row["eval_solution"]).strip() for row in rows)
        if empty:
            logger.warning("%s: %d empty solutions; they are scored as they are", source, empty)


def by_problem(rows: Iterable[Mapping[str, Any]]) -> dict[Any, list[Mapping[str, Any]]]:
    """The rows by ``problem_id``, in the order in which the problems first appear."""
    problems: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        problems.setdefault(row["problem_id"], []).append(row)
    return problems


class RewardMATH(OneRight):
    """RewardMATH as a task: one right solution against the wrong ones of its problem."""

    SCHEMA = SolutionSchema(
        {
            "problem": (str,),
            "eval_solution": (list,),
            "solution_type": (str,),
            "problem_id": (int, str),
        },
        prompt="problem",
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[datasets.Row], config: Any) -> list[Document]:
        """One document a problem; the steps of a solution are lines, as officially."""
        documents = []
        for number, solutions in by_problem(rows).items():
            texts: dict[str, list[str]] = {"chosen": [], "rejected": []}
            for row in solutions:
                texts[row["solution_type"]].append("\n".join(row["eval_solution"]))
            kept = {key: solutions[0].get(key) for key in ("subject", "level", "answer")}
            documents.append(
                {
                    "problem_id": number,
                    "prompt": solutions[0]["problem"],
                    "chosen": texts["chosen"][0],
                    "rejected": texts["rejected"],
                    **kept,
                }
            )
        return documents
