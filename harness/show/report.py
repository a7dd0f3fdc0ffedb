# SPDX-License-Identifier: Apache-2.0
"""From a sweep's or search's file, or a routed run's samples, to report.html and report.md."""

from __future__ import annotations

import os
from pathlib import Path

from harness.compare.routed import is_routed, read_routed
from harness.errors import HarnessError
from harness.runs.atomic import make_folder, write_text
from harness.runs.results import Run, find_run
from harness.show import html, markdown, routed_page, search_page, sweep_page
from harness.show.blocks import Page, Picture
from harness.show.picture import check_format
from harness.show.read import read
from harness.show.study_file import FILES


def write(source: Path, output: Path | None = None) -> list[Path]:
    """Write both files, each complete or not at all; nothing is written before both are rendered.

    Args:
        source: the folder of a sweep or search, or its file; or a run of a routed model.
        output: the folder to write to; default: that of the file.

    Returns:
        The files.

    Raises:
        HarnessError: see `read`; no matplotlib; a file can't be written.
    """
    folder = source if source.is_dir() else source.parent
    output = output or folder
    check_format(folder / "lambda.svg")  # whether there is a matplotlib
    page = _page(source, output)
    pictures = {
        block.file: os.path.relpath(place / block.file, output)
        for part in page.parts
        for block in part.blocks
        if isinstance(block, Picture)
        for place in (folder, output)
        if (place / block.file).is_file()
    }
    texts = {
        output / "report.html": html.render(page),
        output / "report.md": markdown.render(page, pictures),
    }
    for path, text in texts.items():
        write_text(path, text, errors="replace")  # lone surrogates
    return list(texts)


def _page(source: Path, output: Path) -> Page:
    if source.is_dir() and not any((source / name).is_file() for name in FILES):
        try:
            run = find_run(source)
        except HarnessError:
            run = None
        if run is not None and is_routed(run):
            return _routed(run, output)
    study = read(source)
    return sweep_page.page(study) if study.kind == "sweep" else search_page.page(study)


def _routed(run: Run, output: Path) -> Page:
    """The page of a routed run; its picture is written beside it."""
    routed = read_routed(run)
    if routed.confusion is not None:
        make_folder(output / routed_page.PICTURE)
        routed.confusion.draw(output / routed_page.PICTURE)
    return routed_page.page(routed)
