# SPDX-License-Identifier: Apache-2.0
"""lm-eval's requests as the conversations that they ask to score."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.rows.answer import Answer
from harness.rows.conversation import Conversation, Turns, with_response
from harness.rows.text import strings

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


def conversation(request: Instance) -> Turns:
    """The whole conversation of a request ``(context, response)``."""
    context, response = request.args[:2]
    return with_response(context, response)


def conversation_key(request: Instance) -> bytes:
    """A digest of the conversation of a request: equal ones have the same, and it is small."""
    return digest_of(conversation(request))


def key_of(arguments: Sequence[Any]) -> str:
    """The digest of the conversation of a request's ``(context, response)``, in hex."""
    return digest_of(with_response(*arguments[:2])).hex()


def digest_of(turns: Turns) -> bytes:
    """A digest of turns and what stands beside them: equal ones have the same.

    An answer of several messages is another than the last of them alone: a likelihood is of it.
    """
    several = [turns.answer] if turns.answer != 1 else []
    about = [turns.beside, *several] if turns.beside or several else []
    text = json.dumps([turns, *about] if about else turns, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def answer_to(request: Instance, answer: Answer) -> tuple[Any, ...]:
    """The answer as plain data: with its details to this project's tasks, a pair to all others."""
    ours = isinstance(request.args[0], Conversation)
    return tuple(answer) if ours else tuple(answer[:2])


def describe(request: Instance) -> str:
    """Which row this is, for an error message."""
    context, response = request.args[:2]
    origin = context.origin.where if isinstance(context, Conversation) else ""
    row = f"{origin}, " if origin else ""
    return (
        f"{row}task {request.task_name}, document {request.doc_id}, response {request.idx} "
        f"(prompt {str(context)[:60]!r}, response {str(response)[:60]!r})"
    )


@contextmanager
def named(model: str, request: Instance) -> Iterator[None]:
    """Let a mistake in a row say which model and which row.

    Raises:
        HarnessError: the one that was raised, with both.
    """
    try:
        yield
    except HarnessError as error:
        raise HarnessError(f"{model}, {describe(request)}: {error}") from error


def refusal(requests: Sequence[Instance], does: str) -> str:
    """Why a reward model cannot do what a task asks, and what to do."""
    name = getattr(requests[0], "task_name", None) if requests else None
    return (
        f"the task {name or '(unnamed)'} {does}; a reward model only scores answers: choose a "
        "preference or multiple-choice task, or --model hf"
    )


@dataclass
class DistinctRows:
    """Requests without repetition: equal conversations are one row.

    Several processes make lm-eval fill up with copies, and candidates of one question repeat.

    Attributes:
        first: per row, the first request that asks for it.
        rows: per request, its row.
        sizes: per row, the characters of its conversation.
        prompts: per row, a number that rows with the same turns before the last share.
    """

    first: list[Instance]
    rows: list[int]
    sizes: list[int]
    prompts: list[int]

    @classmethod
    def of(
        cls,
        requests: Sequence[Instance],
        see: Callable[[Instance, Turns], None] = lambda request, turns: None,
    ) -> DistinctRows:
        """The distinct rows of `requests`, in the order of their first appearance.

        Args:
            requests: lm-eval's.
            see: called with each distinct conversation, once.
        """
        numbers: dict[bytes, int] = {}
        prompts: dict[bytes, int] = {}
        made = cls([], [], [], [])
        for request in requests:
            turns = conversation(request)
            key = digest_of(turns)
            if key not in numbers:
                see(request, turns)
                numbers[key] = len(numbers)
                made.first.append(request)
                made.sizes.append(sum(len(text) for text in strings([turns, turns.beside])))
                made.prompts.append(prompts.setdefault(digest_of(turns.prompt), len(prompts)))
            made.rows.append(numbers[key])
        return made

    def same_document(self, requests: Sequence[Instance]) -> Callable[[int, int], bool]:
        """Whether two rows are asked for by one document; `requests` as for `of`."""

        @functools.cache
        def documents() -> dict[int, set[Any]]:
            by_row: dict[int, set[Any]] = {}
            for request, row in zip(requests, self.rows, strict=True):
                by_row.setdefault(row, set()).add((request.task_name, request.doc_id))
            return by_row

        return lambda one, other: not documents()[one].isdisjoint(documents()[other])
