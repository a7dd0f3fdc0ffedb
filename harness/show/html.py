# SPDX-License-Identifier: Apache-2.0
"""A report as one HTML page that needs no other file and runs no script."""

from __future__ import annotations

from importlib.resources import files

from harness.show import blocks
from harness.show.blocks import Page, Picture
from harness.show.svg import svg

_KINDS = ("Text", "Items", "Facts", "Table", "Code", "Picture")


def render(page: Page) -> str:
    """A report as the text of an HTML file; names and recipes in it are escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    def drawn(picture: Picture) -> Markup:
        prefix = picture.file.partition(".")[0]
        return Markup(svg(picture.figure, prefix, picture.title, picture.description))

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["drawn"] = drawn
    for kind in _KINDS:
        of_kind = getattr(blocks, kind)
        environment.tests[kind.lower()] = lambda block, of_kind=of_kind: isinstance(block, of_kind)
    source = (files("harness.show") / "page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(page=page)
