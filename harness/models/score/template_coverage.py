# SPDX-License-Identifier: Apache-2.0
"""Whether a chat template shows the model all of a row: looked at before anything is scored.

Every key of a message is handed to the template, and templates use what they know. What one leaves
out would be dropped without a word, and two answers that differ in nothing else would be a tie.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.score.requests import conversation, describe
from harness.rows.conversation import Conversation, Response, Turns
from harness.rows.differences import differ_in_blanks, differing_keys
from harness.rows.hidden import HiddenParts
from harness.rows.markup import Markup

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from harness.models.score.encoder import Encoder

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


@dataclass
class Tally:
    """Counts occurrences and keeps the first, for a message."""

    count: int = 0
    first: str = ""

    def add(self, what: str) -> None:
        """Count one more occurrence."""
        self.count += 1
        self.first = self.first or what


class TemplateCoverage:
    """What a run's conversations hold, and what of it the template shows.

    Args:
        encoder: renders.
        encode: makes the tokens of a request, and refuses what the template refuses.
    """

    def __init__(self, encoder: Encoder, encode: Callable[[Instance], Any]) -> None:
        self.encoder = encoder
        self.encode = encode
        self.markup = Markup(encoder.tokenizer, encoder.render)
        self.hidden = HiddenParts(encoder.render)
        self.shapes: set[Any] = set()
        self.marked = Tally()
        self.alike = Tally()
        self._rows: dict[int, int] = {}
        self._noted: set[tuple[Any, Any, Any]] = set()

    def see(self, request: Instance, turns: Turns) -> None:
        """Note what of a conversation the template may hide, and refuse what can't be scored.

        Raises:
            HarnessError: a user's own row holds the model's markup, or the template refuses it.
        """
        context = request.args[0]
        if not isinstance(context, Conversation):
            return
        mark = self.markup.find(turns)
        if mark is not None and not context.origin.allow_markup:
            if context.origin.strict:
                raise HarnessError(f"{describe(request)}: {mark}")
            self.marked.add(f"{mark.text!r} in {describe(request)}")
        shape = (*((turn["role"], *turn) for turn in turns), *turns.beside)
        if shape not in self.shapes:  # a refusal comes now, not in the middle of the scoring
            self.shapes.add(shape)
            self.encode(request)
        self.hidden.see(turns)

    def tell(self, requests: Sequence[Instance]) -> None:
        """Warn, once, of what the template leaves out and of markup in a benchmark's rows.

        Raises:
            HarnessError: two answers of a user's own row differ, and the template shows the same.
        """
        for name, count, matters in self.hidden.parts():
            logger.log(
                logging.WARNING if matters else logging.INFO,
                "the chat template (%s) leaves out %s, in %d conversations: no part of the score",
                self.encoder.template.source,
                name,
                count,
            )
        if self.marked.count:
            logger.warning(
                "%d conversations hold special tokens in their texts, which the model reads as "
                "markup (the first: %s); they are scored as they are",
                self.marked.count,
                self.marked.first,
            )
        for group in _documents(requests):
            if any(isinstance(request.args[1], Response) for request in group):
                self._compare(group)

    def _compare(self, group: Sequence[Instance]) -> None:
        """Refuse answers of one document that are told apart by keys that the template hides."""
        texts: dict[str, Instance] = {}
        for request in group:
            other = texts.setdefault(self.encoder.render(conversation(request)), request)
            if conversation(other) != conversation(request):
                self._same(other, request)

    def tokenized(
        self, row: int, ids: Sequence[int], first: Sequence[Instance], same_document: Any
    ) -> None:
        """Note a row's tokens; two answers of one document should not have the same.

        Args:
            row: its number.
            ids: its tokens, nothing cut off.
            first: per row, a request for it.
            same_document: whether two rows are answers of one document.
        """
        digest = hashlib.sha256(array("q", ids).tobytes()).digest()
        key = int.from_bytes(digest[:8])  # a small number: there is one for every row
        other = self._rows.setdefault(key, row)
        if other != row and same_document(other, row):
            self._same(first[other], first[row])

    def _same(self, one: Instance, other: Instance) -> None:
        a, b = conversation(one), conversation(other)
        keys = ", ".join(differing_keys(a, b))
        context = other.args[0]
        hidden = self.encoder.render(a) == self.encoder.render(b) and not differ_in_blanks(a, b)
        if hidden and isinstance(context, Conversation) and context.origin.strict:
            raise HarnessError(
                f"{describe(other)}: the two answers differ in {keys}, and the chat template "
                f"({self.encoder.template.source}) renders both to the same text, so the pair "
                "could only tie; give a template that shows it with --model_args chat_template=, "
                "or leave the row out"
            )
        pair = other.task_name, other.doc_id, other.idx
        if pair not in self._noted:  # by its text, and again by its tokens
            self._noted.add(pair)
            self.alike.add(f"{describe(other)}, in {keys}")

    def tell_alike(self) -> None:
        """Warn of answers that the model can't tell apart."""
        if self.alike.count:
            logger.warning(
                "%d answers differ from another one of their row in what the chat template or the "
                "tokenizer leaves out, such as blanks at the end (the first: %s): they tie",
                self.alike.count,
                self.alike.first,
            )


def _documents(requests: Iterable[Instance]) -> Iterator[list[Instance]]:
    """Requests of this project's tasks by document; those of one stand together."""
    ours = (request for request in requests if isinstance(request.args[0], Conversation))
    for _, group in groupby(ours, key=lambda request: (request.task_name, request.doc_id)):
        yield list(group)
