# SPDX-License-Identifier: Apache-2.0
"""Pairs: a prompt, a chosen and a rejected response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.rows import datasets
from harness.rows.conversation import as_response
from harness.rows.documents import Document
from harness.tasks.base import metrics
from harness.tasks.base.candidates import CandidateTask, Metric

PAIRWISE = {
    "accuracy": Metric(),
    "margin": Metric(),
    "ties": Metric(higher_is_better=False),
    "longer": Metric(),
}


def pairwise(responses: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """The metrics of one pair: responses and scores as (chosen, rejected)."""
    chosen, rejected = scores
    return {
        "accuracy": metrics.accuracy([chosen], [rejected]),
        "margin": metrics.margin([chosen], [rejected]),
        "ties": metrics.ties([chosen], [rejected]),
        "longer": metrics.longer([responses[0]], [responses[1]]),
    }


class PreferenceTask(CandidateTask):
    """One subset of a benchmark with the columns prompt, chosen, rejected and subset."""

    DOTTED_NAME = "harness.preference.PreferenceTask"
    SCHEMA = datasets.PREFERENCE
    METRICS = PAIRWISE

    def responses(self, doc: Document) -> list[str]:
        """Chosen, then rejected."""
        return [as_response(doc["chosen"]), as_response(doc["rejected"])]

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """See `pairwise`."""
        return dict(pairwise(self.responses(doc), scores))
