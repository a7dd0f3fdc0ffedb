# SPDX-License-Identifier: Apache-2.0
"""Reads rows as a task would, and counts what they hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from harness.rows.messages import is_filled
from harness.rows.pairs import pair, read_sides

PLACES = 5  # of rows with one fault that are named


@dataclass
class Fault:
    """Rows with the same fault: how many, the first places, and what is said of the first."""

    said: str
    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count one more row with this fault."""
        self.count += 1
        if len(self.places) < PLACES:
            self.places.append(place)

    def where(self) -> str:
        """The places, shortened: ``lines 3, 4 and 7 more``."""
        kind = self.places[0].partition(" ")[0]
        numbers = ", ".join(place.partition(" ")[2] for place in self.places)
        more = f" and {self.count - len(self.places)} more" if self.count > PLACES else ""
        return f"{kind}{'s' if self.count > 1 else ''} {numbers}{more}"


class Faults(dict[str, Fault]):
    """Faults by their kind: what is said of them, without names and numbers of the single row."""

    def add(self, said: str, place: str) -> None:
        """Note a fault of a row."""
        kind = re.sub(r"""'[^']*'|"[^"]*"|\d+|\{.*\}""", "_", said)
        self.setdefault(kind, Fault(said)).add(place)

    @property
    def rows(self) -> int:
        """How many rows have a fault."""
        return sum(fault.count for fault in self.values())


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
