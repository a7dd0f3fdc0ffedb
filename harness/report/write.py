# SPDX-License-Identifier: Apache-2.0
"""From a sweep's or search's file to report.html and report.md."""

from __future__ import annotations

import os
from pathlib import Path

from harness.bon.output import complete, make_folder
from harness.bon.show import check_format
from harness.report import html, markdown, of_search, of_sweep
from harness.report.blocks import Picture
from harness.report.read import read


def write(source: Path, output: Path | None = None) -> list[Path]:
    """Write both files, each complete or not at all; nothing is written before both are rendered.

    Args:
        source: the folder of a sweep or search, or its file.
        output: the folder to write to; default: that of the file.

    Returns:
        The files.

    Raises:
        HarnessError: see `read`; no matplotlib; a file can't be written.
    """
    found = read(source)
    folder = source if source.is_dir() else source.parent
    output = output or folder
    check_format(folder / "lambda.svg")  # whether there is a matplotlib
    page = of_sweep.page(found) if found["kind"] == "sweep" else of_search.page(found)
    pictures = {
        block.file: os.path.relpath(folder / block.file, output)
        for part in page.parts
        for block in part.blocks
        if isinstance(block, Picture) and (folder / block.file).is_file()
    }
    texts = {
        output / "report.html": html.render(page),
        output / "report.md": markdown.render(page, pictures),
    }
    for path, text in texts.items():
        make_folder(path)
        with complete(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="replace")  # lone surrogates
    return list(texts)
