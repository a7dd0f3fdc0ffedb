# SPDX-License-Identifier: Apache-2.0
"""What a report is made of. All text is plain: whoever renders it escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names, each with what it stands for."""

    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Cells, as many in each row as in `head`; the first of a row says what the row is.

    Attributes:
        left: the columns that hold words; the others hold numbers.
        marked: the rows that a reader should find first.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: frozenset[int] = frozenset({0})
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Code:
    """A file or command, to be copied as it is."""

    caption: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A figure; `file` is the name that the sweep gave it as a PNG."""

    file: str
    title: str
    description: str
    figure: Figure


Block = Text | Items | Facts | Table | Code | Picture


@dataclass(frozen=True)
class Part:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """All of a report; `lead` is what someone who reads nothing else should know."""

    title: str
    lead: Sequence[Block]
    parts: Sequence[Part]
