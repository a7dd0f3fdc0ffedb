# SPDX-License-Identifier: Apache-2.0
"""A report as Markdown (CommonMark with tables, as GitHub and the Hub show it)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from harness.show.blocks import Block, Code, Facts, Items, Page, Picture, Table, Text

# What starts something inside a line. An underscore between letters starts nothing: names of tasks
# stay as they are typed.
_SPECIAL = re.compile(r"[\\`*\[\]<>|~$&]|(?<![^\W_])_|_(?![^\W_])")
# What starts a list, a heading or a rule at the beginning of a line.
_START = re.compile(r"^(\d*)([-+=#.)])(?=[-=#\s]|$)")


def render(page: Page, pictures: Mapping[str, str]) -> str:
    """A report as the text of a Markdown file.

    Args:
        page: the report.
        pictures: for the pictures that are there as files, by name: where, seen from this file.
    """
    paragraphs = [f"# {_plain(page.title)}"]
    paragraphs += ["\n".join(_lines(block, pictures)) for block in page.lead]
    for part in page.parts:
        paragraphs.append(f"## {_plain(part.title)}")
        paragraphs += ["\n".join(_lines(block, pictures)) for block in part.blocks]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _lines(block: Block, pictures: Mapping[str, str]) -> Iterator[str]:
    match block:
        case Text():
            yield _plain(block.text)
        case Items():
            yield from (f"- {_plain(line)}" for line in block.lines)
        case Facts():
            yield from (f"- {_plain(name)}: {_plain(value)}" for name, value in block.pairs)
        case Table():
            yield from _table(block)
        case Code():
            longest = max(map(len, re.findall("`+", block.text)), default=0)
            fence = "`" * max(3, longest + 1)
            yield from (f"{_plain(block.caption)}:", "", fence, block.text.rstrip("\n"), fence)
        case Picture() if block.file in pictures:
            yield f"![{_plain(block.description)}]({quote(pictures[block.file])})"


def _table(table: Table) -> Iterator[str]:
    yield from (f"{_plain(table.caption)}:", "")
    yield _row(map(_plain, table.head))
    yield _row("---" if index in table.left else "--:" for index in range(len(table.head)))
    yield from (_row(map(_plain, row)) for row in table.rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that stays text, on one line."""
    line = _SPECIAL.sub(r"\\\g<0>", re.sub(r"\s*[\r\n]\s*", " ", text))
    return _START.sub(r"\1\\\2", line)
