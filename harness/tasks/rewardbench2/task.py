# SPDX-License-Identifier: Apache-2.0
"""RewardBench 2's documents: one prompt with correct completions first, then wrong ones."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.errors import HarnessError
from harness.rows.answer import Answer
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.candidates import CandidateTask, Metric
from harness.tasks.base.preference import PAIRWISE
from harness.tasks.rewardbench2 import scoring

TIES = "Ties"
TIES_ID = re.compile(rf"({scoring.REF}|{scoring.TIED}):(\d+)")


def check(row: Mapping[str, Any]) -> None:
    """Refuse completions that are no texts, and what the rule of Ties cannot be applied to."""
    for column in ("chosen", "rejected"):
        if not row[column] or not all(isinstance(text, str) for text in row[column]):
            raise HarnessError(
                f"column {column} is {str(row[column])[:60]}, expected a list of one or more texts"
            )
    if row["num_correct"] != len(row["chosen"]):
        raise HarnessError(
            f"column num_correct is {row['num_correct']}, but chosen holds {len(row['chosen'])}; "
            "they must agree"
        )
    if row["subset"] != TIES:
        return
    match = TIES_ID.fullmatch(row["id"])
    if match is None:
        raise HarnessError(
            f"column id is {row['id']!r}, expected ref:<number> or tied:<number> in subset {TIES}"
        )
    if match[1] == scoring.TIED and row["num_correct"] < 2:
        raise HarnessError(
            f"{row['id']} has one correct completion, expected two or more: the score compares them"
        )


class RewardBench2(CandidateTask):
    """One subset of RewardBench 2; the subclasses are its two rules."""

    SCHEMA = Schema(
        {
            "id": (str,),
            "prompt": (str, list),
            "chosen": (list,),
            "rejected": (list,),
            "num_correct": (int,),
            "subset": (str,),
        },
        responses=("chosen", "rejected"),
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> list[Document]:
        """The rows, their subset spelt as in the tasks' names: no spaces, so Precise-IF.

        Raises:
            HarnessError: a prompt of Ties is there twice.
        """
        seen: dict[tuple[str, int], int] = {}
        for number, row in enumerate(rows, start=1):
            match = TIES_ID.fullmatch(row["id"]) if row["subset"] == TIES else None
            if match is None:
                continue
            first = seen.setdefault((match[1], int(match[2])), number)
            if first != number:
                raise HarnessError(
                    f"{config['dataset_kwargs']['benchmark']}: rows {first} and {number} are both "
                    f"{row['id']} of {TIES}; keep one of them"
                )
        return [{**row, "subset": row["subset"].replace(" ", "-")} for row in rows]

    def responses(self, doc: Document) -> list[str]:
        """The correct completions, then the wrong ones."""
        return [*doc["chosen"], *doc["rejected"]]


class BestOfN(RewardBench2):
    """Factuality, Precise IF, Math, Safety, Focus: is the first completion the best one?"""

    METRICS = PAIRWISE

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """``margin`` is to the best other completion; ``ties`` are shared first places."""
        missing = any(math.isnan(score) for score in scores)
        return {
            "accuracy": scoring.best_of_n(scores),
            "margin": math.nan if missing else scores[0] - max(scores[1:]),
            "ties": float(not missing and list(scores).count(max(scores)) > 1),
            "longer": scoring.best_of_n([len(text) for text in self.responses(doc)]),
        }


class Ties(RewardBench2):
    """The Ties subset: one score over all its prompts, and the parts that it is the sum of."""

    METRICS: ClassVar[dict[str, Metric]] = {
        "accuracy": Metric(scoring.score_with_warning),
        "margin": Metric(),
        "ties": Metric(higher_is_better=False),
        "longer": Metric(scoring.score),
        **{
            part.__name__: Metric(part)
            for part in (
                scoring.tied_accuracy,
                scoring.ref_accuracy,
                scoring.correctness_preferred,
                scoring.correctness_preferred_hard,
                scoring.correctness_margin,
            )
        },
    }

    @classmethod
    def unit(cls, doc: Document) -> str:
        """The number that ``ref:n`` and ``tied:n`` share: their score is one."""
        return f"{TIES} {doc['id'].partition(':')[2]}"

    def process_results(self, doc: Document, results: Any) -> dict[str, Any]:
        """Refuse scores that hold within one document only: gaps are compared across prompts."""
        details = Answer.of(results[0]).details if results else {}
        if details.get("within_document"):
            raise HarnessError(
                f"{self.config.task} compares scores of different prompts, and those of this model "
                f"({details['kind']}) hold within one document only; use another combine= than "
                "rank-mean, calibrate a router's experts, or choose the other rewardbench2- tasks"
            )
        return super().process_results(doc, results)

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """The prompt's `scoring.Prompt` for the score and its parts.

        ``margin`` is the gap, and a tie a gap of 0.
        """
        correct = len(doc["chosen"])
        lengths = [len(text) for text in self.responses(doc)]
        prompt = scoring.prompt(doc["id"], scores[:correct], scores[correct:])
        return {
            **dict.fromkeys(self.METRICS, prompt),
            "margin": prompt["gap"],
            "ties": float(prompt["gap"] == 0),
            "longer": scoring.prompt(doc["id"], lengths[:correct], lengths[correct:]),
        }
