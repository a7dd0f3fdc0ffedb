# SPDX-License-Identifier: Apache-2.0
"""Reads rows as a task would, and counts what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness.rows.columns import ColumnCells, Columns
from harness.rows.conversation import (
    Conversation,
    Origin,
    Turns,
    as_response,
    messages_of,
    with_response,
)
from harness.rows.faults import Fault, Faults
from harness.rows.messages import is_filled
from harness.rows.pairs import pair, read_sides


class Survey:
    """Counts what a set of pairs holds: columns filled, forms, roles, sections, misfits.

    Args:
        columns: as in the YAML of a task.
        one_answer: the set has one answer a row, in ``columns.chosen`` and ``columns.rejected``.
    """

    def __init__(self, columns: Columns, one_answer: bool = False) -> None:
        self.columns = columns
        self.one_answer = one_answer
        self.rows = 0
        self.filled: Counter[str] = Counter()
        self.forms: dict[str, Counter[str]] = {"prompt": Counter(), "answers": Counter()}
        self.roles: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.keys: Counter[str] = Counter()
        self.sections: Counter[str] = Counter()
        self.longer: Counter[int] = Counter()
        self.misfits = Faults()
        self.equal = Fault("both answers are the same")
        self.empty = Fault("an answer is empty")
        self.passed = ColumnCells(columns._asdict(), columns.unused)

    def see(self, place: str, row: Mapping[str, Any]) -> list[Turns]:
        """Count a row; its conversations, chosen and rejected, or none where it does not fit."""
        self.rows += 1
        self.filled.update(name for name in row if is_filled(row[name]))
        self.filled.update(dict.fromkeys(row, 0))
        self.passed.see(row)
        try:
            doc = pair(row, self.columns)
            prompt, answers = read_sides(row, self.columns)
        except HarnessError as error:
            self.misfits.add(str(error), place)
            return []
        self.forms["prompt"][prompt.form if prompt is not None else "in the answers"] += 1
        for answer in answers:
            self.forms["answers"][answer.form] += 1
        if "subset" in doc:
            self.sections[doc["subset"]] += 1
        asked = messages_of(doc["prompt"])
        beside: dict[str, Any] = {key: doc[key] for key in ("tools", "documents") if key in doc}
        context = Conversation("", asked, beside, Origin(place))
        texts = [as_response(doc[side]) for side in ("chosen", "rejected")]
        both = [with_response(context, text) for text in texts]
        self._count(place, both, texts)
        return both

    def _count(self, place: str, both: list[Turns], texts: list[str]) -> None:
        self.turns[len(both[0])] += 1
        for turns in both[: 1 if self.one_answer else 2]:
            self.roles.update(dict.fromkeys((str(turn["role"]) for turn in turns), 1))
            self.keys.update({key for turn in turns for key in turn} - {"role", "content"})
        if any(not text.strip() for text in texts):
            self.empty.add(place)
        if self.one_answer:
            return
        if both[0] == both[1]:
            self.equal.add(place)
        self.longer[(len(texts[0]) > len(texts[1])) - (len(texts[0]) < len(texts[1]))] += 1
