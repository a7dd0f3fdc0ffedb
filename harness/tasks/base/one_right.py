# SPDX-License-Identifier: Apache-2.0
"""One right response, to be preferred to all of several wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from harness.rows.documents import Document
from harness.tasks.base import metrics
from harness.tasks.base.candidates import CandidateTask, Metric


def reciprocal_rank(chosen: float, rejected: Sequence[float]) -> float:
    """1 / rank of the right response; it comes after wrong ones that it ties with.

    >>> reciprocal_rank(2.0, [1.0, 3.0, 2.0])
    0.3333333333333333
    """
    return 1 / (1 + sum(not chosen > score for score in rejected))


def longest(chosen: str, rejected: Sequence[str]) -> float:
    """The accuracy of always preferring the longest response; k equally long ones share a point.

    >>> longest("four", ["one", "five", "six!"])
    0.3333333333333333
    """
    lengths = [len(chosen), *map(len, rejected)]
    return (len(chosen) == max(lengths)) / lengths.count(max(lengths))


class OneRight(CandidateTask):
    """Documents with ``chosen``, a text, and ``rejected``, several."""

    METRICS: ClassVar[dict[str, Metric]] = {
        "accuracy": Metric(),
        "mrr": Metric(),
        "margin": Metric(),
        "ties": Metric(higher_is_better=False),
        "longer": Metric(),
    }

    def responses(self, doc: Document) -> list[str]:
        """The right response, then the wrong ones."""
        return [doc["chosen"], *doc["rejected"]]

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """Accuracy and reciprocal rank; margin and ties are over the pairs with a wrong one."""
        chosen, rejected = scores[0], scores[1:]
        against = [chosen] * len(rejected)
        return {
            "accuracy": float(all(chosen > score for score in rejected)),
            "mrr": reciprocal_rank(chosen, rejected),
            "margin": metrics.margin(against, rejected),
            "ties": metrics.ties(against, rejected),
            "longer": longest(doc["chosen"], doc["rejected"]),
        }
