# SPDX-License-Identifier: Apache-2.0
"""PPE Correctness: 32 responses to a prompt, each scored once, for its pairs or for best-of-K."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base import metrics
from harness.tasks.base.file_each import FileEach
from harness.tasks.base.preference import PAIRWISE
from harness.tasks.bon.task import BestOfN

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

RESPONSES = tuple(f"response_{number}" for number in range(1, 33))
PAIRS = "sampled_conflict_pairs"


def check(row: Mapping[str, Any]) -> None:
    """Refuse scores that are not 0 or 1 each, and pairs of which neither response is right."""
    scores = row["scores"]
    if len(scores) != len(RESPONSES) or any(score not in (0, 1) for score in scores):
        raise HarnessError(
            f"column scores is {len(scores)} values {str(scores)[:40]}, expected 0 or 1 for each "
            f"of {len(RESPONSES)} responses"
        )
    for pair in row[PAIRS]:
        if not _is_pair(pair):
            raise HarnessError(
                f"column {PAIRS} holds {str(pair)[:40]}, expected two places of responses, "
                f"counted from 0 to {len(RESPONSES) - 1}"
            )
        if scores[pair[0]] == scores[pair[1]]:
            raise HarnessError(
                f"column {PAIRS} holds {list(pair)}, but column scores has {scores[pair[0]]} for "
                "both; expected one right and one wrong response"
            )


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(type(at) is int and 0 <= at < len(RESPONSES) for at in pair)
    )


class PairsSchema(Schema):
    """Rows of 32 responses with the pairs to compare, checked together too."""

    def check(self, rows: Iterable[Mapping[str, Any]], source: str) -> None:
        """Check every row, and tell of what makes the mean over prompts another than over pairs."""
        super().check(rows, source)
        counts = [len(row[PAIRS]) for row in rows]
        if len(set(counts)) > 1:
            logger.warning(
                "%s: the rows have %d to %d pairs each; every prompt counts once in the accuracy, "
                "so it is not the share of all pairs, and prompts without a pair are left out of "
                "it",
                source,
                min(counts),
                max(counts),
            )


class Responses(FileEach):
    """One of the five sets: prompts with 32 responses."""

    SCHEMA: ClassVar[Schema] = PairsSchema(
        {
            "prompt": (str, list),
            **dict.fromkeys(RESPONSES, (str,)),
            "scores": (list,),
            PAIRS: (list,),
        },
        responses=RESPONSES,
        rule=check,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows, their responses as one list."""
        for row in rows:
            kept = {key: row[key] for key in row if key not in RESPONSES}
            yield {
                **kept,
                "responses": [row[name] for name in RESPONSES],
                "labels": [int(score) for score in row["scores"]],
                "answers": None,  # there is nothing to vote with
            }

    def responses(self, doc: Document) -> list[str]:
        """All of them, in the row's order."""
        return list(doc["responses"])


class Pairs(Responses):
    """A set by its pairs: is the right response preferred?"""

    METRICS = PAIRWISE

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows that have pairs, each pair's right response first."""
        for doc in super().documents(rows, config):
            pairs = [sorted(pair, key=lambda at: -doc["labels"][at]) for pair in doc[PAIRS]]
            if pairs:
                yield {**doc, PAIRS: pairs}

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """Means over the prompt's pairs; one that stands there twice counts twice."""
        right, wrong = zip(*doc[PAIRS], strict=True)
        chosen, rejected = [scores[at] for at in right], [scores[at] for at in wrong]
        texts = doc["responses"]
        return {
            "accuracy": metrics.accuracy(chosen, rejected),
            "margin": metrics.margin(chosen, rejected),
            "ties": metrics.ties(chosen, rejected),
            "longer": metrics.longer([texts[at] for at in right], [texts[at] for at in wrong]),
        }


class BestOfK(Responses, BestOfN):
    """A set as best-of-N has its candidates: what the chosen one of K responses is worth."""
