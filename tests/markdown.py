"""A Markdown page taken apart: what a reader can copy, follow or look up in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROW = re.compile(r"^\| ?(.*?) ?\|", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_ASSIGNMENT = re.compile(r"\w+=")


class Page:
    """A page of the repository, by its path from the root."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / name
        self.text = self.path.read_text("utf-8")
        self.prose = _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language."""
        return [text for found, text in _FENCE.findall(self.text) if found == language]

    def code(self) -> list[str]:
        """The code spans outside the blocks."""
        return _CODE.findall(self.prose)

    def section(self, heading: str) -> str:
        """What stands below a heading, up to the next one of its level or above."""
        level, _, _ = heading.partition(" ")
        _, _, below = self.prose.partition(f"\n{heading}\n")
        assert below, f"{self.path}: no heading {heading}"
        return re.split(rf"^#{{1,{len(level)}}} ", below, maxsplit=1, flags=re.MULTILINE)[0]

    def links(self) -> list[tuple[Path, str]]:
        """The relative links: the file that each names, and the anchor in it."""
        relative = [link for link in _LINK.findall(self.prose) if "://" not in link]
        parts = [link.partition("#") for link in relative]
        return [
            ((self.path.parent / path).resolve() if path else self.path, anchor)
            for path, _, anchor in parts
        ]

    def anchors(self) -> set[str]:
        """The anchors that GitHub makes of the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def first_cells(text: str) -> list[str]:
    """The code spans in the first cells of the rows of the tables in a text."""
    return [span for cell in _ROW.findall(text) for span in _CODE.findall(cell)]


def commands(script: str) -> Iterator[list[str]]:
    """The commands of a shell script as words; variables before them are left out.

    Of a loop, those of one round, its variable being 1.
    """
    for line in script.replace("\\\n", " ").splitlines():
        line = re.sub(r"\$\w+", "1", re.sub(r"^\s*(for .*; do|done)$", "", line))
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words += [word] if words or not _ASSIGNMENT.match(word) else []
            elif words:
                yield words
                words = []
