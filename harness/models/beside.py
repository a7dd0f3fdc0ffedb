# SPDX-License-Identifier: Apache-2.0
"""What a chat template gets beside the messages: tools and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.conversation import Message, Turns

if TYPE_CHECKING:
    from harness.models.template import ChatTemplate

# The name under which transformers looks for a template where there are tools.
TOOL_USE = "tool_use"


def beside(tokenizer: Any, template: ChatTemplate, messages: Sequence[Message]) -> dict[str, Any]:
    """The template, tools and documents of a conversation, for ``apply_chat_template``.

    As in transformers, a tokenizer's own template for tools takes the place of its default one
    where a conversation comes with tools.
    """
    given = dict(messages.beside) if isinstance(messages, Turns) else {}
    text = for_tools(tokenizer, template) if given.get("tools") else template.text
    return {"chat_template": text, **given}


def for_tools(tokenizer: Any, template: ChatTemplate) -> str:
    """What renders conversations with tools."""
    names = getattr(tokenizer, "chat_template", None)
    if template.source != "tokenizer: default" or not isinstance(names, Mapping):
        return template.text
    return str(names.get(TOOL_USE, template.text))
