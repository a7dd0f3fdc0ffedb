# SPDX-License-Identifier: Apache-2.0
"""A prompt and an answer as one whole conversation, however the two columns divide it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.forms import TRANSCRIPT, ParsedValue
from harness.rows.messages import INSTEAD, Message, check_order, check_prompt, said


class NoPromptError(HarnessError):
    """An answer without a prompt."""


class OtherPromptError(HarnessError):
    """A prompt that is not what the conversation answers."""


def conversation(answer: ParsedValue, prompt: ParsedValue | None) -> list[Message]:
    """All turns up to the answer, which are the last.

    A conversation that begins with the prompt already is taken as it is; one that begins with the
    assistant, and is no whole one, goes on from the prompt.

    Args:
        answer: a text, or messages.
        prompt: what it answers; None where the row has none.

    Raises:
        NoPromptError: there is none, and the answer is no whole conversation.
        OtherPromptError: the conversation answers another prompt.
        HarnessError: the prompt can't be answered.
    """
    if answer.text is not None:
        if prompt is None:
            raise NoPromptError
        check_prompt(prompt.turns)
        text = answer.text.strip() if prompt.form == TRANSCRIPT else answer.text
        return [*prompt.turns, {"role": "assistant", "content": text}]
    turns = answer.turns
    if prompt is None:
        if not is_whole(turns):
            raise NoPromptError
        return turns
    whole = _begun(turns, prompt)
    if whole is not None:
        return whole
    if turns[0]["role"] == "assistant":
        check_prompt(prompt.turns)
    elif prompt.turns[-1]["role"] not in ("assistant", "system"):
        raise OtherPromptError
    return [*prompt.turns, *turns]


def is_whole(turns: Sequence[Message]) -> bool:
    """Whether turns are a conversation by themselves: somebody asks something."""
    return turns[0]["role"] != "assistant" or any(turn["role"] == "user" for turn in turns)


def _begun(turns: list[Message], prompt: ParsedValue) -> list[Message] | None:
    """The whole conversation, where `turns` hold the prompt; one may have a system turn more."""
    if prompt.text is not None and prompt.form != TRANSCRIPT:
        asked = [turn.get("content", "").strip() for turn in turns if turn["role"] == "user"]
        return turns if prompt.text.strip() in asked else None
    before = prompt.turns
    if before[0]["role"] == "system" and turns[0]["role"] != "system":
        return [before[0], *turns] if _starts(turns, before[1:]) else None
    if turns[0]["role"] == "system" and before[0]["role"] != "system":
        return turns if _starts(turns[1:], before) else None
    return turns if _starts(turns, before) else None


def _starts(turns: Sequence[Message], before: Sequence[Message]) -> bool:
    if len(turns) < len(before) or not before:
        return False
    return all(_like(one) == _like(other) for one, other in zip(before, turns, strict=False))


def _like(turn: Message) -> dict[str, Any]:
    """A message without the blanks around its text."""
    return {**turn, "content": str(turn.get("content", "")).strip()}


def check_answered(turns: Sequence[Message]) -> None:
    """Refuse a conversation that can't be, or that the assistant does not end.

    Raises:
        HarnessError: as `check_order`; or the last turn is not the assistant's.
    """
    if turns[-1]["role"] != "assistant":
        raise HarnessError(f"the last turn must be the assistant's: {turns[-1]!r}")
    check_order(turns[:-1])
    calls = any(key in turn for key in INSTEAD for turn in turns[-2:])
    if not calls and len(turns) > 1 and turns[-2]["role"] == "assistant":
        check_prompt(turns[:-1])


def with_system(turns: list[Message], system: str | None) -> list[Message]:
    """The conversation below a system message.

    Raises:
        HarnessError: it has another one.
    """
    if system is None:
        return turns
    if turns[0]["role"] != "system":
        return [{"role": "system", "content": system}, *turns]
    if turns[0].get("content", "").strip() != system.strip():
        raise HarnessError(
            f"is {system[:40]!r}, but the conversation has the system message "
            f"{turns[0].get('content', '')[:40]!r}; keep one of them"
        )
    return turns


def parting(chosen: Sequence[Message], rejected: Sequence[Message]) -> int | None:
    """The index of the turn where two answers begin after the same turns; None without one.

    It is the assistant's on both sides, and from there on nobody asks anything else.
    """
    start = min(len(chosen), len(rejected)) - 1
    start = next(
        (at for at in range(start) if said(chosen[at]) != said(rejected[at])),
        start,
    )
    while start > 0:
        sides = chosen[start:], rejected[start:]
        before = chosen[start - 1]["role"]
        if all(side[0]["role"] == "assistant" for side in sides) and before != "assistant":
            asks = any(turn["role"] == "user" for side in sides for turn in side)
            return None if asks else start
        start -= 1
    return None
