# SPDX-License-Identifier: Apache-2.0
"""A value of a column as text or as messages, whichever of the usual forms it has."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.rows import transcripts
from harness.rows.messages import Message, is_messages, messages
from harness.rows.text import refuse_broken, shown

# A list of messages that a CSV file or a data frame has made a text.
_STRINGIFIED = re.compile(r"""\s*\[\s*\{\s*['"](role|content|from|value)['"]\s*:""")

# Keys of an object that holds nothing but a conversation.
WRAPPED = ("messages", "conversations")

TEXT = "text"
TRANSCRIPT = "transcript (Human: ... Assistant: ...)"
MESSAGES = "messages"
SHAREGPT = "messages of ShareGPT (from, value)"
JSON_TEXT = "messages as JSON text"


class ParsedValue(NamedTuple):
    """A cell of a data set as text or messages, with the form it was written in.

    Attributes:
        form: one of the forms above.
        turns: its messages; a text is one, without the role that the column gives it.
        text: the text, where it is one.
    """

    form: str
    turns: list[Message]
    text: str | None = None


def written_out(text: str) -> list[Any] | None:
    """The list of messages that a text is the JSON (or Python) of; None for any other text.

    Raises:
        HarnessError: it looks like one, from end to end, and is neither.
    """
    if not _STRINGIFIED.match(text) or not text.rstrip().endswith("]"):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list) and all(map(is_messages, value)) else None
    raise HarnessError(
        f"looks like a list of messages and is neither JSON nor Python: {text[:60]!r}; write it as "
        "JSON"
    )


def read(value: Any) -> ParsedValue:
    """A value that is a text, a list of messages, one message alone, or the JSON text of a list.

    Raises:
        HarnessError: it is something else, or a message in it is none.
    """
    if isinstance(value, Mapping) and not is_messages(value):
        value = next((value[key] for key in WRAPPED if isinstance(value.get(key), list)), value)
    if isinstance(value, str):
        refuse_broken(value, "the text")
        listed = written_out(value)
        if listed is None:
            return ParsedValue(TEXT, [], value)
        return ParsedValue(JSON_TEXT, messages(listed))
    if (isinstance(value, list) and value) or (isinstance(value, Mapping) and is_messages(value)):
        first = value if isinstance(value, Mapping) else value[0]
        sharegpt = isinstance(first, Mapping) and "role" not in first and "from" in first
        return ParsedValue(SHAREGPT if sharegpt else MESSAGES, messages(value))
    raise HarnessError(f"is {shown(value)}, expected a text or a list of messages")


def read_prompt(value: Any) -> ParsedValue:
    """A prompt: also a transcript, as hh-rlhf has them; a text is one turn of the user's.

    Raises:
        HarnessError: as `read`; or a transcript that ends with an answer, or has an empty turn.
    """
    if not isinstance(value, str | list | Mapping) or value in ([], {}):
        raise HarnessError(
            f"a prompt must be a text or a list of messages, not {type(value).__name__} {value!r}"
        )
    prompt = read(value)
    if prompt.text is None:
        return prompt
    if transcripts.is_transcript(prompt.text):
        return ParsedValue(TRANSCRIPT, transcripts.prompt_turns(prompt.text), prompt.text)
    return ParsedValue(TEXT, [{"role": "user", "content": prompt.text}], prompt.text)
