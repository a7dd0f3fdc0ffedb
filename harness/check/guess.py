# SPDX-License-Identifier: Apache-2.0
"""Which columns of a set are the prompt and the answers, by the names that people give them."""

from __future__ import annotations

from collections.abc import Iterable

from harness.rows.columns import Columns

PROMPTS = ("prompt", "question", "instruction", "query", "input", "conversations", "messages")
CHOSEN = (
    "chosen",
    "good",
    "better",
    "preferred",
    "win",
    "accepted",
    "chosen_response",
    "response_chosen",
    "messages",
)
REJECTED = (
    "rejected",
    "bad",
    "worse",
    "dispreferred",
    "lose",
    "rejected_response",
    "response_rejected",
    "rejected_messages",
)
ANSWERS = ("response", "completion", "output", "answer", "messages", "conversations")


def pair_columns(names: Iterable[str]) -> Columns | None:
    """The columns of a set of pairs; None where there is no pair of answers."""
    names = list(names)
    rejected = _first(names, REJECTED)
    chosen = _first([name for name in names if name != rejected], CHOSEN)
    if chosen is None or rejected is None:
        return None
    prompt = _first([name for name in names if name not in (chosen, rejected)], PROMPTS)
    return Columns(prompt, chosen, rejected)


def answer_column(names: Iterable[str]) -> str | None:
    """The column with the one answer of a set for `dogerm train sft`."""
    return _first(list(names), ANSWERS)


def _first(names: list[str], known: Iterable[str]) -> str | None:
    return next((name for name in known if name in names), None)
