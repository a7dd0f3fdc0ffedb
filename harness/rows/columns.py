# SPDX-License-Identifier: Apache-2.0
"""Which column of a set means what, and which columns mean something and are not named."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.rows.messages import is_filled

# Columns that a chat template takes beside the messages, by the key that names them.
GIVEN = ("system", "tools", "documents")
# What such columns are called in people's files.
MEANS = {
    "system": "system",
    "system_prompt": "system",
    "system_message": "system",
    "tools": "tools",
    "functions": "tools",
    "documents": "documents",
}
# Columns that no model which reads text alone can take.
MEDIA = ("image", "images", "video", "videos", "audio", "audios")
# Columns that belong to the conversation and have no key: what to do with them.
OTHERS = {
    "history": "put its turns into the prompt",
    "chat_template_kwargs": "give them to all rows with --model_args chat_template_args=",
}


class Columns(NamedTuple):
    """The names of a set's columns.

    Attributes:
        prompt: a text or messages; None, or a set without this default column, where `chosen` and
            `rejected` are whole conversations.
        chosen: the better answer: a text, its messages, or the conversation that ends with it.
        rejected: the other answer.
        section: what a row is counted under; None for a set without sections.
        system: a text that becomes the system message.
        tools: a list (or its JSON text) of tools, for the chat template.
        documents: the same of documents.
        unused: keys that a YAML sets to null: no such column is to be used, or told of.
    """

    prompt: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"
    section: str | None = None
    system: str | None = None
    tools: str | None = None
    documents: str | None = None
    unused: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Any) -> Columns:
        """The names that a YAML's ``columns`` gives, and the defaults of the others.

        Raises:
            HarnessError: it is no mapping, has another key, or names one column twice.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise HarnessError(f"columns is {given!r}, expected as in {{prompt: question}}")
        keys = tuple(key for key in cls._fields if key != "unused")
        unused = tuple(str(key) for key in given if given[key] is None and key not in keys[:3])
        silent = [key for key in unused if key in MEDIA or key in OTHERS]
        names = {key: name for key, name in given.items() if key not in silent}
        for key, name in names.items():
            if key in MEDIA:
                raise HarnessError(
                    f"columns: {key} is {name!r}, but these models read text alone, and a score "
                    f"without them would be another one; leave such rows out, or set {key}: null "
                    "to score their text"
                )
            if key not in keys:
                raise HarnessError(
                    f"columns has the unknown key {with_guess(str(key), keys)}; it has "
                    f"{', '.join(keys)}"
                )
            if not isinstance(name, str) and not (name is None and key not in keys[1:3]):
                raise HarnessError(f"columns: {key} is {name!r}, expected a column's name")
        made = cls(**names, unused=unused)
        used = [name for name in made[:-1] if name is not None]
        if len(set(used)) < len(used):
            raise HarnessError(f"columns names a column twice: {', '.join(map(str, used))}")
        return made


def with_guess(key: str, known: tuple[str, ...]) -> str:
    """An unknown key, and the known one that it resembles."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"{key!r} (did you mean {close[0]}?)" if close else repr(key)


class ColumnCells:
    """Counts cells that belong to a conversation, above all those that no key of ``columns`` names.

    Args:
        columns: the names in use, as a mapping of keys to names.
        unused: keys that the user has set to null.
        means: names of columns, and the keys that they are for.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        unused: Iterable[str] = (),
        means: Mapping[str, str] = MEANS,
    ) -> None:
        self.means = means
        self.named = {name for name in columns.values() if isinstance(name, str)}
        self.unused = set(unused)
        self.prompt = columns.get("prompt")
        self.counts: Counter[str] = Counter()
        self._missing = {
            str(columns[key]): key
            for key in (*GIVEN, "margin", "score")
            if columns.get(key) is not None
        }

    def see(self, row: Mapping[str, Any]) -> None:
        """Count the cells of a row."""
        self._missing = {name: key for name, key in self._missing.items() if name not in row}
        for name in row:
            if name in self.named or not self._means_something(str(name)):
                continue
            if is_filled(row[name]):
                self.counts[name] += 1

    def _means_something(self, name: str) -> bool:
        key = self.means.get(name, name)
        if key in self.unused or name in self.unused:
            return False
        alpaca = name == "input" and self.prompt == "instruction"
        return alpaca or name in self.means or name in MEDIA or name in OTHERS

    def refuse_missing(self) -> None:
        """Refuse a column that is named, may be missing in a row, and is in none.

        Raises:
            HarnessError: there is one.
        """
        for name, key in self._missing.items():
            raise HarnessError(f"no row has the column {name}, which columns: {{{key}: ...}} names")

    def lines(self, total: int) -> list[str]:
        """What to tell of each column that is filled and not used, and the line to write."""
        return [
            f"column {name} is filled in {count} of {total} rows and not used: {self.advice(name)}"
            for name, count in self.counts.items()
        ]

    def advice(self, name: str) -> str:
        """What to do about a column."""
        if name in self.means:
            key = self.means[name]
            return (
                f"to give it to the model write columns: {{{key}: {name}}}, or {key}: null to "
                "leave it out"
            )
        if name in MEDIA:
            return (
                "these models read text alone, so the score is not that of the whole row; leave "
                f"such rows out, or write columns: {{{name}: null}}"
            )
        return OTHERS.get(name, "Alpaca's input belongs to the instruction: join the two columns")
