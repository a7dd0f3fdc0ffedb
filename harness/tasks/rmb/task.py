# SPDX-License-Identifier: Apache-2.0
"""RMB's two sets: pairs, and prompts whose best response must beat all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import Row, Schema
from harness.rows.documents import Document
from harness.tasks.base.file_each import FileEach
from harness.tasks.base.one_right import OneRight
from harness.tasks.base.preference import PreferenceTask

PROMPT = "conversation_input"


def answer(response: Any, column: str) -> str:
    """The text of a response, which is an object with ``answer``.

    Raises:
        HarnessError: it is something else.
    """
    text = response.get("answer") if isinstance(response, Mapping) else None
    if not isinstance(text, str):
        raise HarnessError(
            f'column {column} holds {str(response)[:60]}, expected {{"answer": text}}; correct the '
            "row"
        )
    return text


def prompt(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The turns of a row without their language, which no chat template is to see."""
    return [{"role": turn["role"], "content": turn["content"]} for turn in row[PROMPT]]


def check_pair(row: Mapping[str, Any]) -> None:
    """Refuse responses without a text."""
    for column in ("chosen", "reject"):
        answer(row[column], column)


def check_best(row: Mapping[str, Any]) -> None:
    """Refuse responses without a text, and a best one that has nothing to beat."""
    answer(row["bon_best"], "bon_best")
    if not row["loser_list"]:
        raise HarnessError("column loser_list is empty, expected one response or more")
    for loser in row["loser_list"]:
        answer(loser, "loser_list")


class Pairwise(FileEach, PreferenceTask):
    """The pairs of one goal."""

    SCHEMA = Schema(
        {PROMPT: (list,), "chosen": (dict,), "reject": (dict,)}, prompt=PROMPT, rule=check_pair
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows with turns as ``prompt`` and texts as responses."""
        for row in rows:
            chosen, rejected = (answer(row[name], name) for name in ("chosen", "reject"))
            yield {**_about(row), "prompt": prompt(row), "chosen": chosen, "rejected": rejected}


class BestOfN(FileEach, OneRight):
    """The prompts of one goal with a best response and several losers."""

    SCHEMA = Schema(
        {PROMPT: (list,), "bon_best": (dict,), "loser_list": (list,)},
        prompt=PROMPT,
        rule=check_best,
    )

    @classmethod
    def documents(cls, rows: Sequence[Row], config: Any) -> Iterator[Document]:
        """The rows with turns as ``prompt`` and texts as responses."""
        for row in rows:
            losers = [answer(loser, "loser_list") for loser in row["loser_list"]]
            best = answer(row["bon_best"], "bon_best")
            yield {**_about(row), "prompt": prompt(row), "chosen": best, "rejected": losers}


def _about(row: Mapping[str, Any]) -> dict[str, Any]:
    """What says where a row is from; the same folder's rows need not have all of it."""
    return {key: row[key] for key in ("pair_uid", "bon_uid", "category_path") if key in row}
