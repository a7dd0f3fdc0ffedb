# SPDX-License-Identifier: Apache-2.0
"""From a sweep's or search's file to report.html and report.md."""

from __future__ import annotations

import os
from pathlib import Path

from harness.runs.atomic import write_text
from harness.show import html, markdown, search_page, sweep_page
from harness.show.blocks import Picture
from harness.show.picture import check_format
from harness.show.read import read


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
    study = read(source)
    folder = source if source.is_dir() else source.parent
    output = output or folder
    check_format(folder / "lambda.svg")  # whether there is a matplotlib
    page = sweep_page.page(study) if study.kind == "sweep" else search_page.page(study)
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
        write_text(path, text, errors="replace")  # lone surrogates
    return list(texts)
