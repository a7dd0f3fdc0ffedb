# SPDX-License-Identifier: Apache-2.0
"""Rows in chunks: what is in memory at a time, and what is scored together.

A reward's last bits depend on what is scored beside it, since a processor adds up numbers in
another order in a batch of another size. So where a chunk ends depends on the rows alone: a killed
run, several processes and Ray's workers score the same chunks, and get the same rewards to the bit.
So does ``lm_eval --model reward`` with the rows of one chunk and the same ``--batch_size``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dogerm_plugin.files.digests import of_text
from harness.errors import HarnessError
from harness.models.row_files.forms import Asked, Names, read
from harness.runs.identity import as_text

Row = dict[str, Any]

# Conversations of a chunk, and characters of its rows; one row may have more.
CONVERSATIONS = 1024
CHARACTERS = 8 << 20


@dataclass
class Chunk:
    """Rows that are scored together.

    Attributes:
        number: of the chunk, from 0.
        first: the number of its first row, from 0.
        places: each row's line or row, as an editor shows it.
        rows: they.
        asked: what is to be scored in each, or why nothing can be.
        digest: of the rows.
    """

    number: int
    first: int
    places: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    asked: list[Asked | str] = field(default_factory=list)
    digest: str = ""

    @property
    def conversations(self) -> int:
        """How many there are to score."""
        return sum(len(one.answers) for one in self.asked if not isinstance(one, str))


def chunks(
    rows: Iterable[tuple[str, Row]], names: Names, source: str, allow_markup: bool = False
) -> Iterator[Chunk]:
    """The rows in chunks.

    Args:
        rows: each with its place.
        names: of the columns.
        source: where they come from, for messages.
        allow_markup: special tokens may stand in texts.

    Raises:
        HarnessError: the first row has no form that can be scored: so will be the others.
    """
    made, texts, count = Chunk(0, 0), 0, 0
    digests: list[str] = []
    for number, (place, row) in enumerate(rows):
        try:
            asked: Asked | str = read(row, names, place, allow_markup)
        except HarnessError as error:
            if number == 0 and str(error).startswith("no column"):
                raise HarnessError(f"{source}, {place}: {error}") from error
            asked = str(error)
        text = as_text(row)
        more = 0 if isinstance(asked, str) else len(asked.answers)
        full = len(made.rows) == CONVERSATIONS or count + more > CONVERSATIONS
        if made.rows and (full or texts + len(text) > CHARACTERS):
            made.digest = of_text("\n".join(digests))
            yield made
            made, texts, count, digests = Chunk(made.number + 1, number), 0, 0, []
        made.places.append(place)
        made.rows.append(row)
        made.asked.append(asked)
        digests.append(of_text(text))
        texts += len(text)
        count += more
    if made.rows:
        made.digest = of_text("\n".join(digests))
        yield made
