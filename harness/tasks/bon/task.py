# SPDX-License-Identifier: Apache-2.0
"""Best-of-N as lm-eval tasks: what a model's choice among candidates is worth, for every N."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.documents import Docs, Document
from harness.tasks.base.candidates import CandidateTask, Metric, total
from harness.tasks.bon.answers import gsm8k_answer
from harness.tasks.bon.expected import best_of_n, majority, oracle
from harness.tasks.bon.weighted import weighted_best_of_n

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# N is reported where at least this share of the questions have N candidates.
ENOUGH = 0.9


def check(row: Mapping[str, Any]) -> None:
    """Raise a `HarnessError` where a row's candidates, labels and answers do not fit together."""
    responses, labels, answers = row["responses"], row["labels"], row.get("answers")
    if not responses:
        raise HarnessError("column responses is empty; a question needs at least one candidate")
    for number, response in enumerate(responses, start=1):
        if not isinstance(response, str):
            raise HarnessError(
                f"column responses, candidate {number} is {type(response).__name__} "
                f"{str(response)[:40]!r}, expected text"
            )
    if len(labels) != len(responses):
        raise HarnessError(f"{len(responses)} responses but {len(labels)} labels; one each")
    for number, label in enumerate(labels, start=1):
        if not isinstance(label, (bool, int, float)) or label not in (0, 1):
            raise HarnessError(
                f"column labels, candidate {number} is {label!r}, expected 1 (correct) or 0"
            )
    if answers is None:
        return
    if not isinstance(answers, list) or len(answers) != len(responses):
        raise HarnessError(
            f"column answers must be a list of {len(responses)}, one a response, not "
            f"{str(answers)[:40]!r}"
        )
    for number, answer in enumerate(answers, start=1):
        if not isinstance(answer, (str, int, float, type(None))):
            raise HarnessError(
                f"column answers, candidate {number} is {answer!r}, expected text, a number, or "
                "null where the response gives no answer"
            )


class BestOfN(CandidateTask):
    """Questions with the columns prompt, responses and labels, and, if they can vote, answers."""

    SCHEMA = datasets.Schema(
        {"prompt": (str, list), "responses": (list,), "labels": (list,)}, rule=check
    )
    METRICS: ClassVar[dict[str, Metric]] = {}  # those of the data at hand, see `__init__`

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        given = config or {}
        source, parts = self.parts(given)
        wanted = given.get("dataset_name")
        names = parts if wanted is None else [str(wanted)]
        docs = Docs(doc for name in names for doc in parts[name])
        self.sizes = sizes(docs)
        self.vote = all(doc["answers"] is not None for doc in docs)
        voting = ["majority", "weighted_best_of_n"] if self.vote else []
        kinds = ["best_of_n", "oracle", "longest", *voting]
        reported = ["random", *(f"{kind}@{size}" for kind in kinds for size in self.sizes)]
        metrics = {**{name: Metric() for name in reported}, "truncated": Metric(total, False)}
        listed = [{"metric": name, **m._asdict()} for name, m in metrics.items()]
        super().__init__(config={"metric_list": listed, **given})
        self._tell(source, docs)

    @classmethod
    def answers(cls, row: datasets.Row) -> list[Any] | None:
        """What each candidate answers (None: nothing); None where answers cannot be compared."""
        given: list[Any] | None = row.get("answers")
        return given

    @classmethod
    def documents(cls, rows: Sequence[datasets.Row], config: Any) -> Iterator[Document]:
        """The rows, with answers where they can be had."""
        for row in rows:
            labels = [int(label) for label in row["labels"]]
            yield {**row, "labels": labels, "answers": cls.answers(row)}

    def responses(self, doc: Document) -> list[str]:
        """The candidates in the file's order."""
        return list(doc["responses"])

    def score(self, doc: Document, scores: Sequence[float]) -> dict[str, Any]:
        """What the choice by `scores` is worth, and what others' choices are (`expected`)."""
        labels = doc["labels"]
        lengths = [float(len(response)) for response in doc["responses"]]
        metrics = {"random": sum(labels) / len(labels)}
        for size in self.sizes:
            metrics[f"best_of_n@{size}"] = best_of_n(scores, labels, size)
            metrics[f"oracle@{size}"] = oracle(labels, size)
            metrics[f"longest@{size}"] = best_of_n(lengths, labels, size)
            if self.vote:
                answers = doc["answers"]
                metrics[f"majority@{size}"] = majority(answers, labels, size)
                metrics[f"weighted_best_of_n@{size}"] = weighted_best_of_n(
                    scores, answers, labels, size
                )
        return metrics

    def _tell(self, source: str, docs: Sequence[Document]) -> None:
        """Warn of questions with fewer candidates than N, and of empty candidates."""
        task, most = self.config.task, self.sizes[-1]
        counts = [len(doc["responses"]) for doc in docs]
        if fewer := sum(count < most for count in counts):
            logger.warning(
                "%s: %d of %d questions have fewer than %d candidates (one has %d): where N is "
                "more, they count with all they have",
                task,
                fewer,
                len(docs),
                most,
                min(counts),
            )
        if empty := sum(not text.strip() for doc in docs for text in doc["responses"]):
            logger.warning(
                "%s: %d of %d candidates in %s are empty; they are scored as they are",
                task,
                empty,
                sum(counts),
                source,
            )
        if not self.vote and (voters := sum(doc["answers"] is not None for doc in docs)):
            logger.warning(
                "%s: no majority vote, as %d of %d questions have no column answers",
                task,
                len(docs) - voters,
                len(docs),
            )


class Gsm8k(BestOfN):
    """Candidates whose answer is a number."""

    @classmethod
    def answers(cls, row: datasets.Row) -> list[Any] | None:
        """The numbers in the file's answers, or in its responses, see `gsm8k_answer`."""
        given = super().answers(row)
        texts = row["responses"] if given is None else given
        return [None if text is None else gsm8k_answer(str(text)) for text in texts]


def sizes(docs: Sequence[Document]) -> list[int]:
    """The N to report: powers of two that at least nine questions in ten have candidates for.

    >>> sizes([{"responses": ["a"] * 10}, {"responses": ["a"] * 5}])
    [1, 2, 4]
    """
    counts = [len(doc["responses"]) for doc in docs]
    powers = [1]
    while sum(count >= 2 * powers[-1] for count in counts) >= ENOUGH * len(counts) > 0:
        powers.append(2 * powers[-1])
    return powers
