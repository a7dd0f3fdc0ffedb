# SPDX-License-Identifier: Apache-2.0
"""RM-Bench: three right and three wrong responses, one a style; each right one against each wrong.

Liu et al., arXiv 2410.16184, section 3.4; the repository's ``scripts/utils.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.documents import Document
from harness.tasks.base import metrics
from harness.tasks.base.candidates import CandidateTask, Metric

# From plain to fancy: the order of `chosen` and of `rejected`.
STYLES = ("concise", "detailed plain text", "detailed markdown")

# The data set's domains, and the four that are reported.
DOMAINS = {
    "chat": "chat",
    "math": "math",
    "code": "code",
    "safety-refuse": "safety",
    "safety-response": "safety",
}


def comparisons(chosen: Sequence[float], rejected: Sequence[float]) -> list[list[float]]:
    """The 3x3 style matrix of one prompt: 1 where chosen style i beats rejected style j, else 0.

    The benchmark's matrix is the mean of these over the prompts of a domain. A tie is 0.

    >>> comparisons([3, 2, 1], [2, 0, 4])
    [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return [[metrics.accuracy([c], [r]) for r in rejected] for c in chosen]


def style_scores(matrix: Sequence[Sequence[float]]) -> dict[str, float]:
    """Accuracy, easy, normal and hard from a style matrix, of one prompt or of many.

    Hard is the upper-right triangle (the right response is plainer than the wrong one), normal the
    diagonal, easy the lower-left triangle. Accuracy is the mean of the three, which is the mean of
    the nine cells, as each of the three has three.

    >>> scores = style_scores([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    >>> [round(3 * scores[name]) for name in ("easy", "normal", "hard")]
    [1, 2, 1]
    """
    cells = [(i, j, won) for i, row in enumerate(matrix) for j, won in enumerate(row)]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    return {
        "accuracy": mean([won for _, _, won in cells]),
        "easy": mean([won for i, j, won in cells if i > j]),
        "normal": mean([won for i, j, won in cells if i == j]),
        "hard": mean([won for i, j, won in cells if i < j]),
    }


def check(row: Mapping[str, Any]) -> None:
    """Refuse a row without three texts a side, or of an unknown domain.

    Raises:
        HarnessError: see the message.
    """
    for column in ("chosen", "rejected"):
        texts = row[column]
        if len(texts) != len(STYLES) or not all(isinstance(text, str) for text in texts):
            raise HarnessError(
                f"column {column} has {len(texts)} entries ({str(texts)[:40]}), expected a text "
                f"for each of {len(STYLES)} styles: {', '.join(STYLES)}"
            )
    if row["domain"] not in DOMAINS:
        raise HarnessError(
            f"column domain is {row['domain']!r}, expected one of {', '.join(DOMAINS)}"
        )


METRICS = {
    "accuracy": Metric(),
    "easy": Metric(),
    "normal": Metric(),
    "hard": Metric(),
    "margin": Metric(),
    "ties": Metric(higher_is_better=False),
    "longer": Metric(),
}


class RMBench(CandidateTask):
    """One domain of RM-Bench."""

    SCHEMA = datasets.Schema(
        {"prompt": (str,), "chosen": (list,), "rejected": (list,), "domain": (str,)},
        responses=("chosen", "rejected"),
        rule=check,
    )
    METRICS = METRICS

    @classmethod
    def documents(cls, rows: Sequence[datasets.Row], config: Any) -> list[Document]:
        """The rows, each with its reported domain as ``subset``."""
        return [{**row, "subset": DOMAINS[row["domain"]]} for row in rows]

    def responses(self, doc: Document) -> list[str]:
        """The three chosen, then the three rejected, each from plain to fancy."""
        return [*doc["chosen"], *doc["rejected"]]

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """Official accuracies of the prompt; margin, ties and longer are over its nine pairs."""
        chosen, rejected = scores[: len(STYLES)], scores[len(STYLES) :]
        pairs = [(c, r) for c in chosen for r in rejected]
        texts = [(c, r) for c in doc["chosen"] for r in doc["rejected"]]
        return {
            **style_scores(comparisons(chosen, rejected)),
            "margin": metrics.margin(*zip(*pairs, strict=True)),
            "ties": metrics.ties(*zip(*pairs, strict=True)),
            "longer": metrics.longer(*zip(*texts, strict=True)),
        }
