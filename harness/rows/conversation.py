# SPDX-License-Identifier: Apache-2.0
"""Conversations on their way from an lm-eval task to an lm-eval model.

lm-eval hands a model two strings, a context and a continuation. A reward model needs the messages
behind the context: a chat template must see the whole conversation, the response included, at
once. `Conversation` is a string that any lm-eval model can use and that still knows its messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.rows.messages import Message, check_prompt
from harness.rows.messages import messages as read_messages

__all__ = [
    "PLAIN_TEMPLATE",
    "Conversation",
    "Message",
    "Origin",
    "Response",
    "Turns",
    "as_response",
    "cache_line",
    "messages_of",
    "plain_text",
    "with_response",
]

# What a reader sees, and what is scored where a tokenizer has no chat template: "User: ...", a
# blank line, "Assistant: ...", and the end-of-sequence token where there is one. `add_bos` says
# whether the tokenizer would put its own first token.
PLAIN_TEMPLATE = (
    "{% if add_bos %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + (message['content'] or '') }}"
    "{% else %}{{ message['role'] | capitalize + ': ' + message['content'] }}{% endif %}"
    "{% if not loop.last %}{{ '\n\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\nAssistant: ' }}"
    "{% elif eos_token is defined and eos_token %}{{ eos_token }}{% endif %}"
)


class Origin(NamedTuple):
    """Where a conversation comes from, and how strictly it is looked at.

    Attributes:
        where: file and row, for messages; empty where the task and the document say it.
        strict: its rows are the user's own: what the chat template would hide is refused. Rows of
            a benchmark are counted and told of, so that one odd row ends no official run.
        allow_markup: special tokens may stand in texts.
    """

    where: str = ""
    strict: bool = False
    allow_markup: bool = False


class Turns(list[Message]):
    """The messages of one conversation, and what a chat template gets beside them.

    Attributes:
        beside: ``tools`` and ``documents``, as the keyword arguments of ``apply_chat_template``.
        answer: how many of the last messages are the response.
    """

    def __init__(
        self,
        messages: Iterable[Mapping[str, Any]],
        beside: Mapping[str, Any] | None = None,
        answer: int = 1,
    ) -> None:
        super().__init__(dict(message) for message in messages)
        self.beside = dict(beside or {})
        self.answer = answer

    @property
    def prompt(self) -> Turns:
        """The messages before the response."""
        return Turns(self[: len(self) - self.answer], self.beside)


class Conversation(str):
    """A context for lm-eval that keeps the messages it was rendered from.

    As a string it is the rendered text, so that ``--model hf``, logs and hashes work as usual;
    `messages` holds ``[{"role": ..., "content": ..., ...}, ...]``, `beside` the ``tools`` and
    ``documents`` for the chat template.
    """

    messages: list[Message]
    beside: dict[str, Any]
    origin: Origin

    def __new__(
        cls,
        text: str,
        messages: Iterable[Mapping[str, Any]],
        beside: Mapping[str, Any] | None = None,
        origin: Origin = Origin(),  # noqa: B008  # immutable
    ) -> Conversation:
        self = super().__new__(cls, text)
        self.messages = [dict(message) for message in messages]
        self.beside = dict(beside or {})
        self.origin = Origin(*origin)
        return self

    def __getnewargs__(  # type: ignore[override]
        self,
    ) -> tuple[str, list[Message], dict[str, Any], Origin]:
        """What copying and pickling need to build the string again."""
        return str(self), self.messages, self.beside, self.origin


class Response(str):
    """A response for lm-eval that is more than one text: its messages, and how they look."""

    messages: list[Message]

    def __new__(cls, messages: Iterable[Mapping[str, Any]], text: str | None = None) -> Response:
        kept = [dict(message) for message in messages]
        shown = text if text is not None else _shown(kept).removeprefix(SPEAKS["assistant"])
        self = super().__new__(cls, shown)
        self.messages = kept
        return self

    def __getnewargs__(self) -> tuple[list[Message], str]:  # type: ignore[override]
        """What copying and pickling need to build the string again."""
        return self.messages, str(self)


def as_response(answer: str | list[Message]) -> str:
    """A document's answer as lm-eval takes it: a text as it is, messages as a `Response`."""
    return answer if isinstance(answer, str) else Response(answer)


def messages_of(prompt: Any) -> list[Message]:
    """The messages of a prompt: a string is one user turn, a list is taken turn by turn.

    Raises:
        HarnessError: a turn without text, two turns of the user's in a row, or a last turn that is
            the assistant's.
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, Sequence) or not prompt:
        raise HarnessError(
            f"a prompt must be a text or a list of messages, not {type(prompt).__name__} {prompt!r}"
        )
    messages = read_messages(prompt)
    check_prompt(messages)
    return messages


SPEAKS = {"system": "", "user": "User: ", "assistant": "Assistant: "}


def _shown(messages: Iterable[Mapping[str, Any]]) -> str:
    """Turns as a reader sees them: whatever a message has beside its content, as JSON below it."""
    turns = []
    for message in messages:
        role = str(message["role"])
        rest = {key: value for key, value in message.items() if key not in ("role", "content")}
        parts = [str(message["content"])] if "content" in message else []
        parts += [json.dumps(rest, ensure_ascii=False)] if rest else []
        turns.append(SPEAKS.get(role, f"{role.capitalize()}: ") + "\n".join(parts))
    return "\n\n".join(turns)


def asked(messages: Iterable[Mapping[str, Any]]) -> str:
    """The text of turns, blanks aside: the same for two prompts that ask the same."""
    texts = [(turn["role"], str(turn.get("content", "")).split()) for turn in messages]
    return "\n".join(f"{role}: {' '.join(words)}" for role, words in texts)


def plain_text(
    messages: Iterable[Mapping[str, Any]], beside: Mapping[str, Any] | None = None
) -> str:
    """The conversation as a reader sees it, ending where the assistant's answer begins.

    Two conversations that a model could tell apart have two texts: lm-eval's cache knows nothing
    else of them.
    """
    given = [f"{key.capitalize()}: {json.dumps(value)}" for key, value in (beside or {}).items()]
    return "\n\n".join([*given, _shown(messages), "Assistant: "])


def cache_line(messages: Iterable[Mapping[str, Any]], beside: Mapping[str, Any]) -> str:
    """What tells a rendered prompt from others in lm-eval's cache; empty for plain messages.

    A template may show a part of a message with the response only.
    """
    messages = list(messages)
    if not beside and all(message.keys() <= {"role", "content"} for message in messages):
        return ""
    text = json.dumps([messages, beside], sort_keys=True)
    return f"\n[messages {hashlib.sha256(text.encode()).hexdigest()[:16]}]"


def with_response(context: str, response: str) -> Turns:
    """The whole conversation to score: the messages behind `context`, then `response`.

    A context that is a bare string comes from a task that knows nothing of conversations: it is one
    user turn, and the single space that lm-eval puts before an answer (``target_delimiter``) is
    taken off again. Where the conversation already ends with the assistant (lm-eval's
    ``gen_prefix``), the response goes on from there.
    """
    if not isinstance(context, Conversation):
        asked = {"role": "user", "content": str(context)}
        return Turns([asked, {"role": "assistant", "content": response.removeprefix(" ")}])
    if isinstance(response, Response):
        answer = response.messages
        return Turns([*context.messages, *answer], context.beside, len(answer))
    messages = [dict(message) for message in context.messages]
    if messages and messages[-1]["role"] == "assistant":
        messages[-1]["content"] = f"{messages[-1].get('content', '')}{response}"
    else:
        messages.append({"role": "assistant", "content": str(response)})
    return Turns(messages, context.beside)
