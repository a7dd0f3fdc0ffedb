# SPDX-License-Identifier: Apache-2.0
"""Whether a chat template leaves the prompt as it is once a response follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.conversation import Message, Turns


def common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The length of the beginning that two sequences have in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def before_response(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages of a conversation before its response, which is the last where nobody says."""
    return messages.prompt if isinstance(messages, Turns) else messages[:-1]


def check_prompt_stays(
    render: Callable[[Sequence[Message], bool], str], messages: Sequence[Message], source: str
) -> None:
    """Refuse a template whose prompt is no beginning of the whole conversation.

    Only the end may differ: what the generation prompt opens (``<think>``), or what a template puts
    after a conversation that ends here. So the two must agree up to the end of the last prompt
    turn's content; or, where the template alters contents, over all that the prompt has with and
    without the generation prompt.

    Args:
        render: messages, and whether with the generation prompt, to text.
        messages: the whole conversation; its last turn is the response.
        source: where the template came from, for the message.

    Raises:
        HarnessError: nothing says where the response starts.
    """
    asked = before_response(messages)
    if not asked:
        return
    whole, prompt = render(messages, False), render(asked, True)
    agreed = common(whole, prompt)
    content = str(asked[-1].get("content", "")).strip()
    place = prompt.rfind(content) if content else -1
    if place >= 0 and agreed >= place + len(content):
        return
    if agreed < common(prompt, render(asked, False)):
        raise HarnessError(
            f"the chat template ({source}) renders the prompt otherwise once a response follows "
            f"({prompt[agreed:][:40]!r} becomes {whole[agreed:][:40]!r}), so where the response "
            "starts is not defined: give another template with --model_args chat_template="
        )
