# SPDX-License-Identifier: Apache-2.0
"""Chat markup that stands in a text already, and would stand there twice after the template."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from harness.rows.conversation import Turns
from harness.rows.hidden import FAILURES
from harness.rows.messages import Message
from harness.rows.text import strings

# What a template writes around a turn, whether or not the tokenizer has a token for it.
_MARKER = re.compile(r"<\|?/?[\w:.-]{1,40}\|?>|<｜[^<>｜]{1,40}｜>|\[/?[A-Z_]{2,20}\]|<</?[A-Z]+>>")
# What an answer may hold by right, and a template may write around an empty one.
_CONTENT = re.compile("think|tool|reason|document|answer|image|video|audio", re.IGNORECASE)
_PROBES = "Qx7u", "Qx7a"


class Mark(NamedTuple):
    """A mark, and whose text holds it."""

    text: str
    role: str

    def __str__(self) -> str:
        return (
            f"the {self.role}'s text holds {self.text!r}, the model's own markup, which would "
            "stand there twice once the chat template is applied; take it out (plain text, or a "
            "list of messages), or set allow_markup: true where it is meant"
        )


class Markup:
    """Finds a model's own markup in texts.

    Args:
        tokenizer: whose special tokens are looked for.
        render: messages to text, with the model's chat template: what it writes around the turns
            is looked for too.
    """

    def __init__(self, tokenizer: Any, render: Callable[[Sequence[Message]], str]) -> None:
        self.marks = _special(tokenizer) | _written(render)
        self._pattern = re.compile(_any_of(sorted(self.marks)) if self.marks else "(?!)")

    def find(self, turns: Turns) -> Mark | None:
        """The first mark in a conversation, its tool calls and tools among it."""
        for turn in turns:
            if text := self._search(strings(turn)):
                return Mark(text, str(turn["role"]))
        for key, value in turns.beside.items():
            if text := self._search(strings(value)):
                return Mark(text, key)
        return None

    def _search(self, texts: Iterable[str]) -> str | None:
        for text in texts:
            if match := self._pattern.search(text):
                return match[0]
        return None


def _any_of(marks: Sequence[str]) -> str:
    """A pattern for any of some texts, the longest that fits; sorted.

    By common beginnings: some tokenizers have thousands of special tokens.
    """
    groups: dict[str, list[str]] = {}
    for mark in marks:
        groups.setdefault(mark[:1], []).append(mark[1:])
    ends = "" in groups
    branches = [re.escape(first) + _any_of(rest) for first, rest in groups.items() if first]
    if not branches:
        return ""
    pattern = branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
    return f"(?:{pattern})?" if ends else pattern


def _special(tokenizer: Any) -> set[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    tokens = {str(token) for token in added if getattr(token, "special", False)}
    tokens |= set(map(str, getattr(tokenizer, "all_special_tokens", ())))
    tokens |= set(map(str, getattr(tokenizer, "chat_control_tokens", None) or ()))
    # A word or a line break that is some tokenizer's end of sequence is no markup.
    return {mark for mark in tokens if len(mark.strip()) >= 3 and not mark.strip().isalnum()}


def _written(render: Callable[[Sequence[Message]], str]) -> set[str]:
    user, assistant = _PROBES
    talk = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    marks: set[str] = set()
    for messages in ([*talk, *talk], [{"role": "system", "content": user}, *talk]):
        with contextlib.suppress(*FAILURES):  # of a conversation that no row may have
            marks |= set(_MARKER.findall(render(messages)))
    return {mark for mark in marks if not _CONTENT.search(mark)}
