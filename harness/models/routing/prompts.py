# SPDX-License-Identifier: Apache-2.0
"""What a router sees of lm-eval's requests: each document's prompt, and nothing of its answers.

All candidates of a document go to one expert: rewards of two experts have two scales, so a pair
that is divided between them says nothing. A router that saw the answers would divide it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from harness.models.score.requests import conversation, describe, digest_of
from harness.rows.conversation import Turns

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


@dataclass
class Document:
    """The requests for one document's candidates.

    Attributes:
        requests: their places among all requests.
        prompt: the number of its prompt in `Prompts`.
        plain: its prompt is each candidate's conversation but for the last turn. Only then does a
            conversation alone, as ``--use_cache`` knows it, tell what its document was routed by.
    """

    requests: list[int] = field(default_factory=list)
    prompt: int = -1
    plain: bool = True


class Prompts(Sequence[Turns]):
    """The distinct prompts of a run, each put together again when it is asked for.

    A prompt is what all candidates of a document begin with, before the answer. Where candidates
    are whole conversations that part earlier, that is what they share; it may be nothing.

    Attributes:
        documents: of the run, in the order of their first request.
    """

    def __init__(self, requests: Sequence[Instance]) -> None:
        self._requests = requests
        self.documents: list[Document] = []
        self._first: list[tuple[int, int]] = []  # a request, and how many of its turns
        by_key: dict[Any, Document] = {}
        for place, request in enumerate(requests):
            key = request.task_name, request.doc_id
            if key not in by_key:
                by_key[key] = Document()
                self.documents.append(by_key[key])
            by_key[key].requests.append(place)
        numbers: dict[bytes, int] = {}
        for document in self.documents:
            first = document.requests[0]
            talks = [conversation(requests[place]) for place in document.requests]
            turns = _shared([talk.prompt for talk in talks])
            document.plain = all(len(talk) == len(turns) + 1 for talk in talks)
            document.prompt = numbers.setdefault(digest_of(turns), len(numbers))
            if document.prompt == len(self._first):
                self._first.append((first, len(turns)))

    def __len__(self) -> int:
        return len(self._first)

    @overload
    def __getitem__(self, index: int) -> Turns: ...

    @overload
    def __getitem__(self, index: slice) -> list[Turns]: ...

    def __getitem__(self, index: int | slice) -> Turns | list[Turns]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place, count = self._first[index]
        prompt = conversation(self._requests[place]).prompt
        return Turns(prompt[:count], prompt.beside)

    def where(self, index: int) -> str:
        """Which row a prompt is of, for messages."""
        return describe(self._requests[self._first[index][0]])


def _shared(prompts: Sequence[Turns]) -> Turns:
    """The turns that all of them begin with."""
    first, *others = prompts
    count = len(first)
    for other in others:
        pairs = zip(first[:count], other, strict=False)
        count = next((n for n, (a, b) in enumerate(pairs) if a != b), min(count, len(other)))
    return Turns(first[:count], first.beside)
