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
from typing import TYPE_CHECKING, Any

from harness.conversation import Conversation, Response, Turns
from harness.errors import HarnessError
from harness.models.requests import conversation, describe
from harness.rows.differences import differ_in_blanks, differing_keys
from harness.rows.markup import Markup

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from harness.models.template import Encoder

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

TRIED = 3  # rows that a key is tried on before it counts as unused
# Keys that say something about a message and are no part of it.
ABOUT = {"weight", "id", "model", "timestamp", "created", "score", "rating", "train", "loss"}


@dataclass
class Part:
    """A part of messages that a template may leave out: how often it is there, and if it is used."""

    rows: int = 0
    tried: int = 0
    used: bool = False


class Shown:
    """What a run's conversations hold, and what of it the template shows.

    Args:
        encoder: renders.
        encode: makes the tokens of a request, and refuses what the template refuses.
    """

    def __init__(self, encoder: Encoder, encode: Callable[[Instance], Any]) -> None:
        self.encoder = encoder
        self.encode = encode
        self.markup = Markup(encoder.tokenizer, encoder.render)
        self.parts: dict[tuple[str, str], Part] = {}
        self.shapes: set[Any] = set()
        self.marked: list[str] = []
        self.alike: list[str] = []
        self._rows: dict[bytes, int] = {}

    def see(self, request: Instance, turns: Turns) -> None:
        """Look at a conversation.

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
            self.marked.append(f"{mark.mark!r} in {describe(request)}")
        shape = (*((turn["role"], *turn) for turn in turns), *turns.beside)
        if shape not in self.shapes:  # a refusal comes now, not in the middle of the scoring
            self.shapes.add(shape)
            self.encode(request)
        for part in dict.fromkeys(_parts(turns)):
            seen = self.parts.setdefault(part, Part())
            seen.rows += 1
            if not seen.used and seen.tried < TRIED:
                seen.tried += 1
                seen.used = self._is_used(turns, part)

    def _is_used(self, turns: Turns, part: tuple[str, str]) -> bool:
        """Whether the conversation looks otherwise without a part of it."""
        try:
            return self.encoder.render(turns) != self.encoder.render(_without(turns, part))
        except HarnessError:  # it can't do without
            return True

    def tell(self, requests: Sequence[Instance]) -> None:
        """Warn, once, of what the template leaves out and of markup in a benchmark's rows.

        Raises:
            HarnessError: two answers of a user's own row differ, and the template shows the same.
        """
        for (role, key), part in self.parts.items():
            if part.used:
                continue
            whose = f"the {key} of" if role == "" else f"the key {key} of {role} messages in"
            level = logging.INFO if key in ABOUT else logging.WARNING
            logger.log(
                level,
                "the chat template (%s) does not use %s %d conversations: it is no part of what is "
                "scored",
                self.encoder.template.source,
                f"the text of {role} messages in" if key == "content" else whose,
                part.rows,
            )
        if self.marked:
            logger.warning(
                "%d conversations hold special tokens in their texts, which the model reads as "
                "markup (the first: %s); they are scored as they are",
                len(self.marked),
                self.marked[0],
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
        key = hashlib.sha256(array("q", ids).tobytes()).digest()
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
                f"({self.encoder.template.source}) renders both to the same text, so the pair could "
                "only tie; give a template that shows it with --model_args chat_template=, or leave "
                "the row out"
            )
        self.alike.append(f"{describe(other)}, in {keys}")

    def tell_alike(self) -> None:
        """Warn of answers that the model can't tell apart."""
        if self.alike:
            logger.warning(
                "%d answers differ from another one of their row in what the chat template or the "
                "tokenizer leaves out, such as blanks at the end (the first: %s): they tie",
                len(self.alike),
                self.alike[0],
            )


def _parts(turns: Turns) -> Iterator[tuple[str, str]]:
    """What of a conversation a template may leave out: role and key of messages, or what is beside.

    The texts of user and assistant are not among it: no template leaves those out of every row.
    """
    for turn in turns:
        for key in turn:
            if key != "role" and (key != "content" or turn["role"] not in ("user", "assistant")):
                yield str(turn["role"]), key
    for key in turns.beside:
        yield "", key


def _without(turns: Turns, part: tuple[str, str]) -> Turns:
    """The conversation without a key of all messages of a role; with another text for a content."""
    role, missing = part
    if role == "":
        return Turns(turns, {key: v for key, v in turns.beside.items() if key != missing})
    changed = []
    for turn in turns:
        if turn["role"] != role or missing not in turn:
            changed.append(dict(turn))
        elif missing == "content":
            changed.append({**turn, "content": f"{turn['content']} (and more)"})
        else:
            changed.append({key: value for key, value in turn.items() if key != missing})
    return Turns(changed, turns.beside)


def _documents(requests: Iterable[Instance]) -> Iterator[list[Instance]]:
    """Requests of this project's tasks by document."""
    groups: dict[Any, list[Instance]] = {}
    for request in requests:
        if isinstance(request.args[0], Conversation):
            groups.setdefault((request.task_name, request.doc_id), []).append(request)
    yield from groups.values()
