# SPDX-License-Identifier: Apache-2.0
"""Rows of any preference set as a prompt, a chosen and a rejected response.

Sets differ in where the prompt is: in a column of its own, in whole conversations that both sides
repeat, or in both. What is compared here is what the assistant does after the same turns: nearly
always one answer, and several turns where it calls tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness.errors import HarnessError
from harness.rows import transcripts
from harness.rows.columns import Columns, with_guess
from harness.rows.documents import Document
from harness.rows.forms import (
    JSON_TEXT,
    MESSAGES,
    TEXT,
    TRANSCRIPT,
    ParsedValue,
    read,
    read_prompt,
    written_out,
)
from harness.rows.messages import Message, check_prompt, is_filled, messages, values
from harness.rows.section_name import section_name
from harness.rows.text import refuse_broken, shown
from harness.rows.whole_conversation import (
    NoPromptError,
    OtherPromptError,
    check_answered,
    conversation,
    is_whole,
    parting,
    with_system,
)

__all__ = ["Columns", "pair", "with_guess"]

_Value = TypeVar("_Value")
_Made = TypeVar("_Made")


def pair(row: Mapping[str, Any], columns: Columns) -> Document:
    """A row as a document.

    It has ``prompt``, ``chosen`` and ``rejected``, each a text where a text says all, and else a
    list of messages; ``tools`` and ``documents`` where the row has them; with sections, ``subset``.

    A prompt column beside whole conversations is only compared with them: a text must be one of
    the user's turns, messages must be the first turns.

    Raises:
        HarnessError: a column is missing or of another type, a conversation does not alternate or
            does not end with the assistant, or the turns before the two answers differ.
    """
    _refuse_missing(row, columns)
    prompt, answers = read_sides(row, columns)
    chosen, rejected = _whole(row, columns, prompt, answers)
    start = parting(chosen, rejected)
    if start is None:
        raise HarnessError(
            f"columns {columns.chosen} and {columns.rejected} differ before their last turn, at "
            f"turn {_first_difference(chosen, rejected)}; the two must answer the same prompt"
        )
    before = chosen[:start]
    _in_column(columns.chosen, check_prompt, before)
    made: Document = {
        "prompt": shortest(before, "user"),
        "chosen": shortest(chosen[start:], "assistant"),
        "rejected": shortest(rejected[start:], "assistant"),
        **beside(row, columns),
    }
    if columns.section is not None:
        made["subset"] = section_name(row[columns.section], columns.section)
    return made


def shortest(turns: list[Message], role: str) -> str | list[Message]:
    """Turns as a text, where they are one of this role with nothing but a content."""
    if len(turns) == 1 and turns[0]["role"] == role and turns[0].keys() == {"role", "content"}:
        return str(turns[0]["content"])
    return turns


def beside(row: Mapping[str, Any], columns: Columns) -> Document:
    """What a row gives the chat template beside messages: ``tools`` and ``documents``."""
    given = {
        key: values(row.get(name), name)
        for key, name in (("tools", columns.tools), ("documents", columns.documents))
        if name is not None
    }
    return {key: value for key, value in given.items() if value is not None}


def system_of(row: Mapping[str, Any], columns: Columns) -> str | None:
    """The text of the system column; None where there is none, or nothing in it.

    Raises:
        HarnessError: it is no text.
    """
    value = row.get(columns.system) if columns.system is not None else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise HarnessError(f"column {columns.system} is {shown(value)}, expected a text")
    refuse_broken(value, f"column {columns.system}")
    return value


def read_sides(
    row: Mapping[str, Any], columns: Columns
) -> tuple[ParsedValue | None, list[ParsedValue]]:
    """What the three columns of a row hold: the prompt, if there is one, and both answers."""
    names = columns.chosen, columns.rejected
    texts = [row[name] for name in names]
    value = row.get(columns.prompt) if columns.prompt is not None else None
    if not is_filled(value) and not any(isinstance(text, str) for text in texts):
        value = None  # an empty cell beside whole conversations
    prompt = None if value is None else _in_column(columns.prompt, read_prompt, value)
    if not all(isinstance(text, str) for text in texts):
        return prompt, [_in_column(name, _answer, row[name]) for name in names]
    for name, text in zip(names, texts, strict=True):
        refuse_broken(text, f"column {name}")
    listed = [_in_column(name, written_out, text) for name, text in zip(names, texts, strict=True)]
    if all(turns is not None for turns in listed):
        sides = zip(names, listed, strict=True)
        return prompt, [
            ParsedValue(JSON_TEXT, _in_column(name, messages, turns or [])) for name, turns in sides
        ]
    if all(map(transcripts.is_transcript, texts)) and _are_whole(texts, prompt):
        return prompt, [ParsedValue(TRANSCRIPT, transcripts.turns(text)) for text in texts]
    return prompt, [ParsedValue(TEXT, [], text) for text in texts]


def _are_whole(texts: Sequence[str], prompt: ParsedValue | None) -> bool:
    """Whether two texts with a transcript's marks are the conversation, not answers that have it.

    A prompt that is plain text may ask for a dialogue, and a few of hh-rlhf's answers begin with
    the user's mark.
    """
    if prompt is None:
        return True
    conversations = [transcripts.turns(text) for text in texts]
    if prompt.form == TRANSCRIPT:
        return all(turns[: len(prompt.turns)] == prompt.turns for turns in conversations)
    asked = prompt.turns[-1].get("content", "").strip()
    return all(any(turn["content"] == asked for turn in turns) for turns in conversations)


def _answer(value: Any) -> ParsedValue:
    """What an answer's column holds, where the two answers are not both texts."""
    if isinstance(value, str):
        refuse_broken(value, "the text")
        return ParsedValue(TEXT, [], value)
    if isinstance(value, list) and value:
        last = value[-1]
        if not isinstance(last, Mapping):
            raise HarnessError(f"the last turn must be the assistant's: {last!r}")
        if all(last.get(key) is None for key in last if key not in ("role", "from")):
            raise HarnessError(f"the last turn has no text: {last!r}")
    answer = read(value)
    if not answer.turns:
        raise HarnessError(f"is {shown(value)}, expected a text or a list of messages")
    if answer.turns[-1]["role"] != "assistant":
        raise HarnessError(f"the last turn must be the assistant's: {answer.turns[-1]!r}")
    return answer


def _whole(
    row: Mapping[str, Any],
    columns: Columns,
    prompt: ParsedValue | None,
    answers: Sequence[ParsedValue],
) -> list[list[Message]]:
    """The two conversations, each ending with its answer."""
    if prompt is None:  # an answer alone has the other side's prompt
        whole = [
            a for a in answers if a.text is None and a.form != TRANSCRIPT and is_whole(a.turns)
        ]
        if len(whole) == 1:
            prompt = ParsedValue(MESSAGES, whole[0].turns[:-1])
    made = []
    for name, answer in zip((columns.chosen, columns.rejected), answers, strict=True):
        try:
            turns = conversation(answer, prompt)
        except NoPromptError:
            raise _unasked(row, columns, name) from None
        except OtherPromptError:
            raise HarnessError(
                f"column {columns.prompt} is {str(row.get(str(columns.prompt)))[:40]!r}, which is "
                f"not what {columns.chosen} and {columns.rejected} answer; to score these "
                "conversations as they are, set columns: {prompt: null}"
            ) from None
        except HarnessError as error:
            raise HarnessError(f"column {columns.prompt}: {error}") from error
        _in_column(name, check_answered, turns)
        made.append(with_system(turns, system_of(row, columns)))
    return made


def _unasked(row: Mapping[str, Any], columns: Columns, name: str) -> HarnessError:
    """Why there is no prompt for the answer in column `name`."""
    if columns.prompt is not None and columns.prompt in row:
        return HarnessError(
            f"column {columns.prompt}: a prompt must be a text or a list of messages, not "
            f"{type(row[columns.prompt]).__name__} {row[columns.prompt]!r}"
        )
    asked = f"no column {columns.prompt}" if columns.prompt else "no column of prompts"
    likely = [key for key in ("question", "instruction", "conversations", "messages") if key in row]
    return HarnessError(
        f"{asked} (there are: {', '.join(map(str, row))}), and column {name} holds no whole "
        "conversation; name the prompt's column, as in columns: {prompt: "
        f"{(likely or ['question'])[0]}}}"
    )


def _refuse_missing(row: Mapping[str, Any], columns: Columns) -> None:
    needed = [*columns[1:4]]  # what goes beside a conversation may be missing in a row
    if columns.prompt != Columns().prompt:
        needed.append(columns.prompt)
    missing = [name for name in needed if name is not None and name not in row]
    if missing:
        raise HarnessError(
            f"no column {', '.join(missing)} (there are: {', '.join(map(str, row))}); name the "
            "columns, as in columns: {chosen: good, rejected: bad}"
        )


def _in_column(name: str | None, read: Callable[[_Value], _Made], value: _Value) -> _Made:
    """What `read` makes of a value; its errors name the column."""
    try:
        return read(value)
    except HarnessError as error:
        told = str(error)
        joint = " " if told.startswith(("is ", "looks ")) else ": "
        raise HarnessError(f"column {name}{joint}{told}") from error


def _first_difference(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """The first turn, from 1, in which two conversations differ."""
    both = zip(chosen, rejected, strict=False)
    differing = (number for number, (one, other) in enumerate(both, start=1) if one != other)
    return next(differing, min(len(chosen), len(rejected)) + 1)
