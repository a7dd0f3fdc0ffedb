"""A page taken apart, so that tests can ask what is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

# Elements without an end tag, in HTML.
VOID = {"meta", "link", "img", "br", "hr", "input", "base"}
CELLS = {"td", "th"}
PARAGRAPHS = {"h1", "h2", "p", "li", "dt", "dd", "code"}


@dataclass
class Page(HTMLParser):
    """Elements with their attributes, texts of paragraphs, and tables as rows of cells."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in CELLS:
            self.tables[-1][-1].append("")
        elif tag in PARAGRAPHS:
            self.texts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in CELLS:
            self.tables[-1][-1][-1] += data
        elif self._open and self._open[-1] in PARAGRAPHS:
            self.texts[-1] += data

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.elements if found == tag]


def addresses(page: Page) -> list[str]:
    """Everything in the page that a browser could fetch, apart from what is in the page itself."""
    found = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "srcset", "href", "action", "data", "poster", "background", "ping"}
    ]
    found += re.findall(r"url\(([^)]*)\)", page.source) + re.findall("@import.*", page.source)
    return [value for value in found if not value.startswith(("#", "data:"))]


def markdown_tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown file, without the lines that say how columns are aligned."""
    tables: list[list[list[str]]] = []
    earlier = ""
    for line in text.splitlines():
        if line.startswith("| "):
            if not earlier.startswith("| "):
                tables.append([])
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            tables[-1].append([unescaped(cell[1:-1]) for cell in cells])
        earlier = line
    return [[rows[0], *rows[2:]] for rows in tables]


def unescaped(text: str) -> str:
    """What a reader of the Markdown sees."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
