# SPDX-License-Identifier: Apache-2.0
"""JudgeBench's pairs as preferences, by the model that wrote them and by category.

Tan et al., JudgeBench: A Benchmark for Evaluating LLM-Based Judges (arXiv 2410.12784).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.preference import PreferenceTask

FIRST, SECOND = "A>B", "B>A"

# What a source begins with, as in the benchmark's own report.
CATEGORIES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
# What a response_model begins with is the name of the Hub's split.
SPLITS = ("gpt", "claude")


def subset_of(row: Mapping[str, Any]) -> str:
    """The split and the category of a row, as in the tasks' names: ``gpt-knowledge``.

    Raises:
        HarnessError: a source or a response_model that JudgeBench does not have.
    """
    return (
        f"{_beginning(row, 'response_model', SPLITS)}-"
        + (CATEGORIES[_beginning(row, "source", CATEGORIES)])
    )


def _beginning(
    row: Mapping[str, Any], column: str, known: Sequence[str] | Mapping[str, str]
) -> str:
    for beginning in known:
        if row[column].startswith(beginning):
            return beginning
    raise HarnessError(
        f"column {column} is {row[column]!r}, expected a name that begins with {', '.join(known)}; "
        "pairs of your own are evaluated with the task preference"
    )


def check(row: Mapping[str, Any]) -> None:
    """Refuse a label, a source or a response_model that JudgeBench does not have."""
    if row["label"] not in (FIRST, SECOND):
        raise HarnessError(
            f"column label is {row['label']!r}, expected {FIRST!r} or {SECOND!r}; correct the row"
        )
    subset_of(row)


class JudgeBench(PreferenceTask):
    """One category of JudgeBench, of one of the two models that wrote its pairs."""

    SCHEMA = Schema(
        {
            "source": (str,),
            "question": (str,),
            "response_model": (str,),
            "response_A": (str,),
            "response_B": (str,),
            "label": (str,),
        },
        prompt="question",
        responses=("response_A", "response_B"),
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> list[Document]:
        """The rows with their subset; split and category are read from the row."""
        return [{**row, "prompt": row["question"], "subset": subset_of(row)} for row in rows]

    def responses(self, doc: Document) -> list[str]:
        """The correct response, then the wrong one."""
        pair = [doc["response_A"], doc["response_B"]]
        return pair if doc["label"] == FIRST else pair[::-1]
