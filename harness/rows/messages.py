# SPDX-License-Identifier: Apache-2.0
"""One message, and the order of several, in every spelling that people's files have.

A message goes to the chat template with all its keys; which roles and keys there are is the
template's matter. Only the spelling is made one: ``from`` and ``value`` (ShareGPT) become ``role``
and ``content``, text parts are joined, and keys without a value (Parquet has them) are left out, as
transformers does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.text import plain, refuse_broken, shown

Message = dict[str, Any]

# ShareGPT's speakers; others keep their names.
SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "observation": "tool",
}
# What a message may consist of where it has no content.
INSTEAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")
# What no model that reads text alone can be shown.
MEDIA = ("image", "images", "video", "videos", "audio", "audios", "input_audio", "image_url")

# Keys that say something about a message and are no part of it.
ABOUT = {"weight", "id", "model", "timestamp", "created", "score", "rating", "train", "loss"}


def is_filled(value: Any) -> bool:
    """Whether a cell says anything."""
    if isinstance(value, str):
        return bool(value.strip()) and value.strip() not in ("[]", "{}", "null")
    return value is not None and value not in ([], {})


def said(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without what is empty, or is only about it: what two sides must have in common."""
    return {key: v for key, v in message.items() if key not in ABOUT and is_filled(v)}


def is_messages(value: Any) -> bool:
    """Whether a value looks like a list of messages, or like one message alone."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Mapping) and ("role" in first or "from" in first)


def messages(value: Any) -> list[Message]:
    """A list of messages (or one alone) in one spelling; a system message without text is left out.

    Raises:
        HarnessError: an entry is no message, has no text, or holds what is no text.
    """
    if isinstance(value, Mapping):
        value = [value]
    made = [_message(turn, number) for number, turn in enumerate(value, start=1)]
    return [message for message in made if message is not None]


def _message(turn: Any, number: int) -> Message | None:
    if not isinstance(turn, Mapping):
        raise HarnessError(f'turn {number} must be {{"role": ..., "content": text}}: {turn!r}')
    filled = {str(key): value for key, value in turn.items() if value is not None}
    role = _role(filled, number)
    spelling = {"role" if "role" in filled else "from"}
    spelling.add("value" if "content" not in filled and "value" in filled else "content")
    content = next(
        (filled[key] for key in ("content", "value") if key in spelling & set(filled)), None
    )
    rest = {key: _keyed(key, value, number) for key, value in filled.items() if key not in spelling}
    if content is None:
        if role == "system" and not any(key in rest for key in INSTEAD):
            return None  # an empty cell
        if not any(rest.get(key) for key in INSTEAD):
            raise HarnessError(
                f'turn {number} must be {{"role": ..., "content": text}}; it has no text: {turn!r}'
            )
        return {"role": role, **rest}
    return {"role": role, "content": _text(content, number, turn), **rest}


def _role(turn: Mapping[str, Any], number: int) -> str:
    role = turn.get("role", turn.get("from"))
    if not isinstance(role, str) or not role.strip():
        raise HarnessError(f"turn {number} has role {role!r}, expected a name such as user")
    if "role" not in turn:
        role = SPEAKERS.get(role, role)
        if role == "function_call":
            raise HarnessError(
                f"turn {number} is from function_call; write the call as the key tool_calls of an "
                "assistant's message, which chat templates know"
            )
    return role


def _text(content: Any, number: int, turn: Any) -> str:
    """A content as text; a list of text parts is joined."""
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        content = "".join(_part(part, number) for part in content)
    if not isinstance(content, str):
        raise HarnessError(f'turn {number} must be {{"role": ..., "content": text}}: {turn!r}')
    refuse_broken(content, f"turn {number}")
    return content


def _part(part: Any, number: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        kind = part.get("type", "text")
        text = part.get("text")
        if kind in ("text", "input_text", "output_text") and isinstance(text, str):
            return text
        media = next((name for name in MEDIA if part.get(name) is not None), None)
        if kind in MEDIA or media is not None:
            raise HarnessError(
                f"turn {number} holds a part of type {media or kind}; only text can be scored: "
                "leave the row out"
            )
    raise HarnessError(
        f'turn {number} holds the part {str(part)[:60]}, expected {{"type": "text", "text": ...}}'
    )


def _keyed(key: str, value: Any, number: int) -> Any:
    """What stands under another key than role and content; tool calls may be JSON text."""
    if key in MEDIA and value not in ([], "", {}):
        raise HarnessError(
            f"turn {number} has the key {key}; only text can be scored: leave the row out"
        )
    if key == "tool_calls" and isinstance(value, str):
        value = from_json(value, f"turn {number}, key tool_calls")
    return plain(value, f"turn {number}, key {key},")


def from_json(text: str, name: str) -> Any:
    """What a JSON text holds.

    Raises:
        HarnessError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{name} is {text[:40]!r}, which is not JSON: {error}") from error


def check_order(turns: Sequence[Message]) -> None:
    """Refuse a conversation that nobody can have had; templates refuse the rest themselves.

    Raises:
        HarnessError: it begins with what a tool answers, or the user, or the assistant without
            calling a tool, speaks twice in a row.
    """
    if turns and turns[0]["role"] in ("tool", "function"):
        raise HarnessError(
            f"turn 1 has role {turns[0]['role']!r}, and nothing before it called a tool"
        )
    for number in range(1, len(turns)):
        before, turn = turns[number - 1], turns[number]
        if before["role"] != turn["role"] or turn["role"] not in ("user", "assistant"):
            continue
        if any(key in message for message in (before, turn) for key in INSTEAD):
            continue
        raise HarnessError(f"turns {number} and {number + 1} are both the {turn['role']}'s")


def check_prompt(turns: Sequence[Message]) -> None:
    """Refuse what no response can follow.

    Raises:
        HarnessError: as `check_order`; or the last turn is the assistant's, or the system's.
    """
    check_order(turns)
    if not turns or turns[-1]["role"] in ("assistant", "system"):
        raise HarnessError(
            "the last turn of a prompt must be the user's; what the assistant answers belongs in "
            "the response columns"
        )


def values(value: Any, column: str) -> list[dict[str, Any]] | None:
    """A column of tools or of documents: a list of objects, or JSON text of one; None if empty.

    Raises:
        HarnessError: it is something else.
    """
    if isinstance(value, str):
        value = from_json(value, f"column {column}") if value.strip() else None
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list):  # Parquet and CSV may have each as JSON text
        value = [
            from_json(item, f"column {column}") if isinstance(item, str) else item for item in value
        ]
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise HarnessError(f"column {column} is {shown(value)}, expected a list of objects")
    objects: list[dict[str, Any]] = plain(value, f"column {column}")
    return objects
