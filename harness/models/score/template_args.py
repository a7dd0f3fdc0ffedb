# SPDX-License-Identifier: Apache-2.0
"""What a user tells a chat template: ``chat_template_args=``, ``date=``, ``template_seconds=``."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Any

from harness.errors import HarnessError
from harness.models.load.arguments import number
from harness.models.score.date_and_chance import FIXED_DATE
from harness.models.score.rendering import SECONDS

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# What `apply_chat_template` takes for itself, so that no template can have a variable of that name.
_TAKEN = {
    "chat_template",
    "continue_final_message",
    "conversation",
    "max_length",
    "messages",
    "padding",
    "return_assistant_tokens_mask",
    "return_dict",
    "return_tensors",
    "sanitize_control_tokens",
    "tokenize",
    "tokenizer_kwargs",
    "truncation",
}

_EXAMPLE = """--model_args pretrained=FOLDER 'chat_template_args={"date_string": "1 Jan 2025"}'"""


def variables(given: Any) -> dict[str, Any]:
    """The variables in ``chat_template_args``, which lm-eval may give as a text.

    Raises:
        HarnessError: they are no mapping of names, or of a name that no template can have.
    """
    parsed = _parsed(given) if isinstance(given, str) else given
    if parsed is None:
        return {}
    if not isinstance(parsed, Mapping) or not all(isinstance(name, str) for name in parsed):
        raise HarnessError(
            f"chat_template_args={given} is no mapping of the template's variables; write "
            f"{_EXAMPLE}"
        )
    taken = sorted(_TAKEN & set(parsed))
    if taken:
        raise HarnessError(
            f"chat_template_args has {', '.join(taken)}, which is not the template's to know"
        )
    return dict(parsed)


def _parsed(text: str) -> Any:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def warn_of_unused(given: Collection[str], read: Collection[str], source: str) -> None:
    """Say which variables do nothing, since the template does not read them.

    Args:
        given: names in ``chat_template_args``.
        read: names that the template reads.
        source: where the template is from.
    """
    unused = sorted(set(given) - set(read))
    if unused:
        logger.warning(
            "chat_template_args: the chat template (%s) does not use %s", source, ", ".join(unused)
        )


def fixed_date(given: Any) -> datetime:
    """The day that ``date=`` names, `FIXED_DATE` without it.

    Raises:
        HarnessError: it is no day.
    """
    if given is None:
        return FIXED_DATE
    if isinstance(given, datetime):
        return given if given.tzinfo else given.replace(tzinfo=UTC)
    if isinstance(given, date):
        return datetime(given.year, given.month, given.day, tzinfo=UTC)
    try:
        parsed = datetime.fromisoformat(str(given))
    except ValueError as error:
        raise HarnessError(
            f"date={given} is no date; it is for example date=2024-07-26, what the chat template "
            "takes for today"
        ) from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def time_limit(given: Any) -> float:
    """The seconds that ``template_seconds=`` gives a template for a conversation.

    Raises:
        HarnessError: it is no number above 0.
    """
    return SECONDS if given is None else number(given, "template_seconds", positive=True)
