"""What renders a conversation with tools."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.models.score.chat_template import ChatTemplate, for_tools


@pytest.mark.parametrize(
    ("own", "source", "expected"),
    [
        ({"default": "d", "tool_use": "t"}, "tokenizer: default", "t"),
        ({"default": "d", "rag": "r"}, "tokenizer: default", "d"),
        ("d", "tokenizer: default", "d"),
        ({"default": "d", "tool_use": "t"}, "file: mine.jinja", "d"),
    ],
)
def test_the_tokenizers_own_for_tools(own: Any, source: str, expected: str) -> None:
    """As in transformers; a template that the user named is the one. The cache's key knows it."""
    tokenizer = SimpleNamespace(chat_template=own)
    assert for_tools(tokenizer, ChatTemplate("d", source)) == expected
