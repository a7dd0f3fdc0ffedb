# SPDX-License-Identifier: Apache-2.0
"""What a model answers to one request of this project's tasks, and what kind of score it is.

lm-eval's models answer ``(log-likelihood, is_greedy)``. This project's models add a mapping with
what the number alone does not say. It is in the samples that ``--log_samples`` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

REWARD = "reward"
LIKELIHOOD = "likelihood"


class Answer(NamedTuple):
    """The score of one response.

    Attributes:
        score: a reward or a log-likelihood; larger is better.
        is_greedy: lm-eval's flag; a reward model has no use for it.
        details: ``kind`` (`REWARD`, `LIKELIHOOD`, ... : what the score is), ``truncated`` (whether
            the conversation lost its beginning; absent where the model does not say),
            ``within_document`` (whether it compares only with scores of the same document), and
            whatever else a model tells of a row, JSON types only.
    """

    score: float
    is_greedy: bool = False
    details: dict[str, Any] = {}  # noqa: RUF012  # never written to

    @classmethod
    def of(cls, result: Sequence[Any]) -> Answer:
        """An answer of any lm-eval model: without details it is a language model's likelihood."""
        details = result[2] if len(result) > 2 else {"kind": LIKELIHOOD}
        return cls(float(result[0]), bool(result[1]), details)


def kind_suffix(kinds: set[str]) -> str:
    """What the table adds to a name whose scores are not plain rewards.

    >>> kind_suffix({"reward"}), kind_suffix({"likelihood"})
    ('', ' [likelihood]')
    """
    other = sorted(kinds - {REWARD})
    return f" [{', '.join(other)}]" if other else ""
