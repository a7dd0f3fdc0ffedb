# SPDX-License-Identifier: Apache-2.0
"""lm-eval's requests for the candidates of a task, each put together when it is asked for.

lm-eval makes all requests of a run before the first is answered and keeps them to its end. A
request here is a place in a list; its document and its texts are made from the rows each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from harness.rows.conversation import Conversation
from harness.rows.documents import Document

# Documents kept rendered: neighbours ask for the same one, one candidate after the other.
KEPT = 16


class Rendered(NamedTuple):
    """A document, its prompt, and its candidates' texts."""

    doc: Document
    context: Conversation
    responses: list[str]


class Requests:
    """The requests of one task in one run.

    Args:
        task: its name.
        repeats: lm-eval's number of answers to each request.
        docs: the documents.
        context: a document's prompt.
        responses: a document's candidates.
    """

    def __init__(
        self,
        task: str,
        repeats: int,
        docs: Sequence[Document],
        context: Callable[[Document], Conversation],
        responses: Callable[[Document], list[str]],
    ) -> None:
        self.task = task
        self.repeats = repeats
        self._responses = responses

        @functools.lru_cache(KEPT)
        def rendered(place: int) -> Rendered:
            doc = docs[place]
            return Rendered(doc, context(doc), responses(doc))

        self.rendered = rendered

    def of(self, place: int, doc_id: int, doc: Document) -> list[CandidateRequest]:
        """A document's requests, one a candidate.

        Args:
            place: in the documents.
            doc_id: lm-eval's number.
            doc: the document, for the number of its candidates.
        """
        count = len(self._responses(doc))
        return [CandidateRequest(self, place, doc_id, index) for index in range(count)]


class CandidateRequest:
    """What lm-eval asks of an ``Instance``, with a document and texts made when asked for.

    Not a subclass: a dataclass's objects have room for a dictionary each, twice as large as this.
    """

    __slots__ = ("_place", "_requests", "doc_id", "filtered_resps", "idx", "resps")

    request_type = "loglikelihood"

    def __init__(self, requests: Requests, place: int, doc_id: int, idx: int) -> None:
        self._requests = requests
        self._place = place
        self.doc_id = doc_id
        self.idx = idx
        self.resps: list[Any] = []
        self.filtered_resps: dict[str, Any] = {}

    @property
    def doc(self) -> Document:
        """The document."""
        return self._requests.rendered(self._place).doc

    @property
    def arguments(self) -> tuple[Conversation, str]:
        """The prompt and the candidate."""
        rendered = self._requests.rendered(self._place)
        return rendered.context, rendered.responses[self.idx]

    args = arguments

    @property
    def task_name(self) -> str:
        """The task's name."""
        return self._requests.task

    @property
    def repeats(self) -> int:
        """How many answers lm-eval wants."""
        return self._requests.repeats

    @property
    def metadata(self) -> tuple[str, int, int]:
        """Task, document, repeats."""
        return self.task_name, self.doc_id, self.repeats

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.arguments!r}, {self.metadata!r}, idx={self.idx})"
