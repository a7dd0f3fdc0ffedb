# SPDX-License-Identifier: Apache-2.0
"""A matplotlib figure as an SVG element that stands inside an HTML page."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # matplotlib lets it in, XML does not
_REFERENCE = re.compile(r"url\(#([^)]*)\)")


def svg(figure: Figure, prefix: str, title: str, description: str) -> str:
    """A figure as an ``svg`` element, which refers to nothing outside itself.

    Black and white become the page's own ink and paper, so that it can be read in a dark scheme.

    Args:
        figure: drawn in `harness.show.picture.STYLE`.
        prefix: for the ids, which must differ from those of the page's other pictures.
        title: its name, for those who can't see it.
        description: what it shows.
    """
    from matplotlib import rc_context

    from harness.show.picture import STYLE

    file = io.BytesIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts draw the text
        figure.savefig(file, format="svg", facecolor="none", metadata={"Date": None})
    root = ElementTree.fromstring(_CONTROL.sub(b"", file.getvalue()))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # who wrote it; a rule for any page
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # in HTML, svg is known without a namespace
        element.attrib = {
            name.rpartition("}")[2]: _attribute(name, value, prefix)
            for name, value in element.attrib.items()
        }
    names = {"title": title, "desc": description}
    for position, (tag, text) in enumerate(names.items()):
        named = ElementTree.Element(tag, {"id": f"{prefix}-{tag}"})
        named.text = text
        root.insert(position, named)
    for size in ("width", "height"):  # the page's matter
        del root.attrib[size]
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{prefix}-title",
        "aria-describedby": f"{prefix}-desc",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
    return value.replace("#000000", "currentColor").replace("#ffffff", "var(--paper)")
