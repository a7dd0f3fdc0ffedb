# SPDX-License-Identifier: Apache-2.0
"""Domain-specific preferences: does the reward prefer a domain's own answer to the four others?

Cheng et al., Everyone Deserves A Reward (arXiv 2309.03126), and its repository's
``reward_datasets.py`` (pairs) and ``trainer.py`` (accuracy).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.candidates import CandidateTask
from harness.tasks.base.preference import PAIRWISE, pairwise

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

DOMAINS = ("academy", "business", "entertainment", "literature", "normal")


def check(row: Mapping[str, Any]) -> None:
    """Refuse a row without exactly one text for each domain."""
    responses = row["responses"]
    absent = [name for name in DOMAINS if name not in responses]
    unknown = [name for name in responses if name not in DOMAINS]
    if absent or unknown:
        wrong = [f"lacks {', '.join(absent)}"] * bool(absent)
        wrong += [f"has the unknown {', '.join(map(str, unknown))}"] * bool(unknown)
        raise HarnessError(
            f"column responses {' and '.join(wrong)}; expected a response for each of "
            f"{', '.join(DOMAINS)}; correct the row"
        )
    for name, text in responses.items():
        if not isinstance(text, str):
            raise HarnessError(
                f"column responses, {name}: {type(text).__name__} {str(text)[:40]!r}, expected str"
            )


class DomainSchema(Schema):
    """Rows of a query and an object with a response per domain, checked."""

    def check(self, rows: Iterable[Mapping[str, Any]], source: str) -> None:
        """Check every row, and tell of empty responses."""
        rows = list(rows)
        super().check(rows, source)
        empty = [
            (number, name)
            for number, row in enumerate(rows, start=1)
            for name, text in row["responses"].items()
            if not text.strip()
        ]
        if empty:
            logger.warning(
                "%s: %d responses are empty, the first is row %d, %s; they are scored as they are",
                source,
                len(empty),
                *empty[0],
            )


class DomainPreference(CandidateTask):
    """One domain: a query's five responses, the domain's own first.

    All domains ask for the same five conversations, which the model scores once in one run.
    """

    SCHEMA = DomainSchema({"query": (str,), "responses": (dict,)}, prompt="query", rule=check)
    METRICS = PAIRWISE

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> list[Document]:
        """A document per query and domain."""
        return [
            {"prompt": row["query"], "responses": row["responses"], "subset": domain}
            for row in rows
            for domain in DOMAINS
        ]

    def responses(self, doc: Document) -> list[str]:
        """The domain's own response, then the four others in the order of `DOMAINS`."""
        own = doc["subset"]
        return [doc["responses"][name] for name in (own, *(n for n in DOMAINS if n != own))]

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """Means over the query's four pairs.

        A tie is half a point, as DSP's own "Preference total Acc" counts it: it compares a pair in
        both directions, and of those an equal score gets one right.
        """
        own, *others = zip(self.responses(doc), scores, strict=True)
        pairs = [pairwise((own[0], other[0]), (own[1], other[1])) for other in others]
        metrics = {name: fmean(pair[name] for pair in pairs) for name in pairs[0]}
        metrics["accuracy"] += metrics["ties"] / 2
        return metrics
