# SPDX-License-Identifier: Apache-2.0
"""Rows of any preference set as a prompt, a chosen and a rejected response.

Sets differ in where the prompt is: in a column of its own, in whole conversations that both sides
repeat, or in both. What is compared here is always the last answer, after the same turns.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.conversation import Message, messages_of
from harness.documents import Document
from harness.errors import HarnessError


class Columns(NamedTuple):
    """The names of a set's columns.

    Attributes:
        prompt: a text or messages; None, or a set without this default column, where `chosen` and
            `rejected` are whole conversations.
        chosen: the better answer: a text, its messages, or the conversation that ends with it.
        rejected: the other answer.
        section: what a row is counted under; None for a set without sections.
    """

    prompt: str | None = "prompt"
    chosen: str = "chosen"
    rejected: str = "rejected"
    section: str | None = None

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
        for key, name in given.items():
            if key not in cls._fields:
                raise HarnessError(
                    f"columns has the unknown key {with_guess(str(key), cls._fields)}; it has "
                    f"{', '.join(cls._fields)}"
                )
            if not isinstance(name, str) and not (name is None and key in ("prompt", "section")):
                raise HarnessError(f"columns: {key} is {name!r}, expected a column's name")
        made = cls(**given)
        names = [name for name in made if name is not None]
        if len(set(names)) < len(names):
            raise HarnessError(f"columns names a column twice: {', '.join(names)}")
        return made


def with_guess(key: str, known: tuple[str, ...]) -> str:
    """An unknown key, and the known one that it resembles."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"{key!r} (did you mean {close[0]}?)" if close else repr(key)


def pair(row: Mapping[str, Any], columns: Columns) -> Document:
    """A row as a document: ``prompt``, ``chosen``, ``rejected`` and, with sections, ``subset``.

    A prompt column beside whole conversations is only compared with them: a text must be one of
    the user's turns, messages must be the first turns.

    Raises:
        HarnessError: a column is missing or of another type, a conversation does not alternate or
            does not end with the assistant, or the turns before the two answers differ.
    """
    needed = [columns.chosen, columns.rejected, columns.section]
    if columns.prompt != Columns().prompt:
        needed.append(columns.prompt)
    missing = [name for name in needed if name is not None and name not in row]
    if missing:
        raise HarnessError(
            f"no column {', '.join(missing)} (there are: {', '.join(map(str, row))}); name the "
            "columns in the YAML, as in columns: {chosen: good, rejected: bad}"
        )
    prompt = row.get(columns.prompt) if columns.prompt is not None else None
    chosen = _conversation(row, columns, columns.chosen, prompt)
    rejected = _conversation(row, columns, columns.rejected, prompt)
    if chosen[:-1] != rejected[:-1]:
        raise HarnessError(
            f"columns {columns.chosen} and {columns.rejected} differ before their last turn, at "
            f"turn {_first_difference(chosen, rejected)}; the two must answer the same prompt"
        )
    _compare(prompt, chosen[:-1], columns)
    made: Document = {
        "prompt": chosen[0]["content"] if len(chosen) == 2 else chosen[:-1],
        "chosen": chosen[-1]["content"],
        "rejected": rejected[-1]["content"],
    }
    if columns.section is not None:
        section = row[columns.section]
        if not isinstance(section, (str, int)) or not str(section).strip():
            raise HarnessError(
                f"column {columns.section} is {section!r}, expected the name of a section"
            )
        made["subset"] = str(section)
    return made


def _conversation(
    row: Mapping[str, Any], columns: Columns, name: str, prompt: Any
) -> list[Message]:
    """All turns up to the answer in column `name`, which is the last."""
    value = row[name]
    if isinstance(value, str):
        turns: list[Any] = [{"role": "assistant", "content": value}]
    elif isinstance(value, list) and value:
        turns = list(value)
    else:
        raise HarnessError(
            f"column {name} is {type(value).__name__} {str(value)[:40]!r}, expected a text or a "
            "list of messages"
        )
    if isinstance(turns[0], Mapping) and turns[0].get("role") == "assistant":
        turns = [*_prompt_turns(row, columns, name, prompt), *turns]
    last = turns[-1]
    if not isinstance(last, Mapping) or last.get("role") != "assistant":
        raise HarnessError(f"column {name}: the last turn must be the assistant's: {last!r}")
    if not isinstance(last.get("content"), str):
        raise HarnessError(f"column {name}: the last turn has no text: {last!r}")
    try:
        before = messages_of(turns[:-1])
    except HarnessError as error:
        raise HarnessError(f"column {name}: {error}") from error
    return [*before, {"role": "assistant", "content": last["content"]}]


def _prompt_turns(
    row: Mapping[str, Any], columns: Columns, name: str, prompt: Any
) -> list[Message]:
    """The prompt column's messages, for an answer that comes without them."""
    if columns.prompt is None or columns.prompt not in row:
        asked = f"no column {columns.prompt}" if columns.prompt else "no column of prompts"
        raise HarnessError(
            f"{asked} (there are: {', '.join(map(str, row))}), and column {name} holds no whole "
            "conversation; name the prompt's column in the YAML, as in columns: {prompt: question}"
        )
    try:
        return messages_of(prompt)
    except HarnessError as error:
        raise HarnessError(f"column {columns.prompt}: {error}") from error


def _first_difference(chosen: list[Message], rejected: list[Message]) -> int:
    """The first turn, from 1, in which two conversations differ."""
    both = zip(chosen, rejected, strict=False)
    differing = (number for number, (one, other) in enumerate(both, start=1) if one != other)
    return next(differing, min(len(chosen), len(rejected)) + 1)


def _compare(prompt: Any, turns: list[Message], columns: Columns) -> None:
    """Refuse a prompt column that says something else than the conversations."""
    if prompt is None:
        return
    if isinstance(prompt, str):
        users = [turn["content"].strip() for turn in turns if turn["role"] == "user"]
        agrees = prompt.strip() in users
    else:
        try:
            agrees = messages_of(prompt) == turns[: len(prompt)]
        except HarnessError as error:
            raise HarnessError(f"column {columns.prompt}: {error}") from error
    if not agrees:
        raise HarnessError(
            f"column {columns.prompt} is {str(prompt)[:40]!r}, which is not what "
            f"{columns.chosen} and {columns.rejected} answer; to score these conversations as they "
            "are, set columns: {prompt: null}"
        )
