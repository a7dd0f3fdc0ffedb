# SPDX-License-Identifier: Apache-2.0
"""Rows and documents on disk, so that memory does not grow with their texts.

They lie in a temporary file without a name (in the folder that ``TMPDIR`` names), which is gone
with the process. A row takes 16 bytes of memory until somebody asks for it.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

from harness.errors import HarnessError

Document = dict[str, Any]
# A document's key for what its prompt and responses are a translation of.
TRANSLATION_OF = "translation_of"


class Docs(Sequence[Document]):
    """Documents, each read from disk when it is asked for, and every time anew.

    lm-eval wants a sequence that can also name its columns.

    Args:
        docs: read once, one after the other.

    Raises:
        HarnessError: there is no room for them.
    """

    def __init__(self, docs: Iterable[Document] = ()) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as we are
        except OSError as error:
            raise HarnessError(
                f"no temporary file for the rows ({error}); name a folder with TMPDIR"
            ) from error
        self._starts = array("Q")
        self._ends = array("Q")
        end = 0
        for doc in docs:
            data = pickle.dumps(doc, pickle.HIGHEST_PROTOCOL)
            self._write(data)
            self._starts.append(end)
            end += len(data)
            self._ends.append(end)
        self._write(b"")

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data) if data else self._file.flush()
        except OSError as error:
            raise HarnessError(
                f"{tempfile.gettempdir()} can't hold the rows ({error}); name a folder with more "
                "room with TMPDIR"
            ) from error

    def chosen(self, numbers: Iterable[int]) -> Docs:
        """The documents of these numbers, in their order; they are not written again."""
        made = Docs.__new__(Docs)
        numbers = array("Q", numbers)
        made._file = self._file
        made._starts = array("Q", (self._starts[number] for number in numbers))
        made._ends = array("Q", (self._ends[number] for number in numbers))
        return made

    @property
    def features(self) -> dict[str, None]:
        """The columns, as the keys of a mapping."""
        return dict.fromkeys(self[0]) if self else {}

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> Docs: ...
    def __getitem__(self, index: int | slice) -> Document | Docs:
        if isinstance(index, slice):
            return self.chosen(range(len(self))[index])
        start = self._starts[index]
        # At a place, not from where the last read ended: other threads and forks read too.
        data = os.pread(self._file.fileno(), self._ends[index] - start, start)
        doc: Document = pickle.loads(data)
        return doc

    def __iter__(self) -> Iterator[Document]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Docs], tuple[list[Document]]]:
        """What copying and pickling need: the documents themselves."""
        return Docs, (list(self),)


def by_subset(docs: Docs) -> dict[str, Docs]:
    """Documents by their subset, in the order of the first of each."""
    numbers: dict[str, list[int]] = {}
    for number, doc in enumerate(docs):
        numbers.setdefault(str(doc.get("subset", "")), []).append(number)
    return {subset: docs.chosen(indices) for subset, indices in numbers.items()}
