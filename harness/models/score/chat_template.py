# SPDX-License-Identifier: Apache-2.0
"""Which chat template renders a conversation, and what it gets beside the messages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows.conversation import PLAIN_TEMPLATE, Message, Turns

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# The name under which transformers looks for a template where there are tools.
TOOL_USE = "tool_use"


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template and the place it came from (for logs and results)."""

    text: str
    source: str
    plain: bool = False


def choose_template(
    tokenizer: Any, wanted: str | None, argument: str = "chat_template"
) -> ChatTemplate:
    """The template to render with.

    Args:
        tokenizer: a transformers tokenizer.
        wanted: the name of one of the tokenizer's templates, a path to a file, or a Jinja text;
            None takes the tokenizer's default, and where it has none `PLAIN_TEMPLATE`.
        argument: that says so, for messages.

    Raises:
        HarnessError: no such name, file or Jinja text, or several templates without a default.
    """
    own = getattr(tokenizer, "chat_template", None)
    names = dict(own) if isinstance(own, Mapping) else ({"default": own} if own else {})
    if wanted is not None:
        wanted = str(wanted)
        if wanted in names:
            return ChatTemplate(names[wanted], f"tokenizer: {wanted}")
        if "{{" in wanted or "{%" in wanted:
            return ChatTemplate(wanted, "model_args: Jinja text")
        try:
            return ChatTemplate(Path(wanted).expanduser().read_text("utf-8"), f"file: {wanted}")
        except (OSError, UnicodeDecodeError) as error:
            raise HarnessError(
                f"{argument}={wanted} is neither a template of this tokenizer (it has: "
                f"{', '.join(sorted(names)) or 'none'}), nor a Jinja text, nor a file that can be "
                f"read ({error})"
            ) from error
    if "default" in names:
        return ChatTemplate(names["default"], "tokenizer: default")
    if names:
        raise HarnessError(
            f"the tokenizer has several chat templates and no default: {', '.join(sorted(names))}; "
            "choose one with --model_args "
            f"{argument}=NAME"
        )
    logger.warning(
        "the tokenizer has no chat template: scoring the plain format 'User: ...', blank line, "
        "'Assistant: ...', end of sequence. A reward model is only right with the format it was "
        "trained on: give it with --model_args chat_template=NAME, PATH or Jinja text"
    )
    return ChatTemplate(PLAIN_TEMPLATE, "plain format (the tokenizer has no chat template)", True)


def beside(tokenizer: Any, template: ChatTemplate, messages: Sequence[Message]) -> dict[str, Any]:
    """The template, tools and documents of a conversation, for ``apply_chat_template``.

    As in transformers, a tokenizer's own template for tools takes the place of its default one
    where a conversation comes with tools.
    """
    given = dict(messages.beside) if isinstance(messages, Turns) else {}
    text = for_tools(tokenizer, template) if given.get("tools") else template.text
    return {"chat_template": text, **given}


def for_tools(tokenizer: Any, template: ChatTemplate) -> str:
    """The text of the template that renders conversations with tools."""
    names = getattr(tokenizer, "chat_template", None)
    if template.source != "tokenizer: default" or not isinstance(names, Mapping):
        return template.text
    return str(names.get(TOOL_USE, template.text))
