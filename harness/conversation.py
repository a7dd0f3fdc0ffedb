# SPDX-License-Identifier: Apache-2.0
"""Conversations on their way from an lm-eval task to an lm-eval model.

lm-eval hands a model two strings, a context and a continuation. A reward model needs the messages
behind the context: a chat template must see the whole conversation, the response included, at
once. `Conversation` is a string that any lm-eval model can use and that still knows its messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError

Message = dict[str, str]

ROLES = ("system", "user", "assistant")

# What a reader sees, and what is scored where a tokenizer has no chat template: "User: ...", a
# blank line, "Assistant: ...", and the end-of-sequence token where there is one. `add_bos` says
# whether the tokenizer would put its own first token.
PLAIN_TEMPLATE = (
    "{% if add_bos %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] }}"
    "{% else %}{{ 'Assistant: ' + message['content'] }}{% endif %}"
    "{% if not loop.last %}{{ '\n\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\nAssistant: ' }}"
    "{% elif eos_token is defined and eos_token %}{{ eos_token }}{% endif %}"
)


class Conversation(str):
    """A context for lm-eval that keeps the messages it was rendered from.

    As a string it is the rendered text, so that ``--model hf``, logs and hashes work as usual;
    `messages` holds ``[{"role": ..., "content": ...}, ...]``.
    """

    messages: list[Message]

    def __new__(cls, text: str, messages: Iterable[Mapping[str, str]]) -> Conversation:
        self = super().__new__(cls, text)
        self.messages = [dict(message) for message in messages]
        return self

    def __getnewargs__(self) -> tuple[str, list[Message]]:  # type: ignore[override]
        """What copying and pickling need to build the string again."""
        return str(self), self.messages


def messages_of(prompt: Any) -> list[Message]:
    """The messages of a prompt: a string is one user turn, a list is taken turn by turn.

    Raises:
        HarnessError: a turn without text, an unknown role, two turns of one role in a row, a system
            message that is not the first, or a last turn that is not the user's.
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, Sequence) or not prompt:
        raise HarnessError(
            f"a prompt must be a text or a list of messages, not {type(prompt).__name__} {prompt!r}"
        )
    messages: list[Message] = []
    for number, turn in enumerate(prompt, start=1):
        if not isinstance(turn, Mapping) or not isinstance(turn.get("content"), str):
            raise HarnessError(f'turn {number} must be {{"role": ..., "content": text}}: {turn!r}')
        role = turn.get("role")
        if role not in ROLES or (role == "system" and number > 1):
            raise HarnessError(
                f"turn {number} has role {role!r}; expected user and assistant in turns, after at "
                "most one system message at the start"
            )
        if messages and messages[-1]["role"] == role:
            raise HarnessError(f"turns {number - 1} and {number} are both the {role}'s")
        messages.append({"role": role, "content": turn["content"]})
    if messages[-1]["role"] != "user":
        raise HarnessError(
            "the last turn of a prompt must be the user's; what the assistant answers belongs in "
            "the response columns"
        )
    return messages


def plain_text(messages: Iterable[Mapping[str, str]]) -> str:
    """The conversation as a reader sees it, ending where the assistant's answer begins."""
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    turns = [names[message["role"]] + message["content"] for message in messages]
    return "\n\n".join([*turns, "Assistant: "])


def with_response(context: str, response: str) -> list[Message]:
    """The whole conversation to score: the messages behind `context`, then `response`.

    A context that is a bare string comes from a task that knows nothing of conversations: it is one
    user turn, and the single space that lm-eval puts before an answer (``target_delimiter``) is
    taken off again. Where the conversation already ends with the assistant (lm-eval's
    ``gen_prefix``), the response goes on from there.
    """
    if not isinstance(context, Conversation):
        return [
            {"role": "user", "content": str(context)},
            {"role": "assistant", "content": response.removeprefix(" ")},
        ]
    messages = [dict(message) for message in context.messages]
    if messages and messages[-1]["role"] == "assistant":
        messages[-1]["content"] += response
    else:
        messages.append({"role": "assistant", "content": response})
    return messages
