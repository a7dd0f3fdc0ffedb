# SPDX-License-Identifier: Apache-2.0
"""One bar over all that a command scores, with the time left; what it says stands above."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import TextIO

from tqdm import tqdm

from harness.models.score import progress


class _Above(io.TextIOBase):
    """Lines that are written here appear above the bar."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            tqdm.write(line, file=self._file)
        return len(text)

    def isatty(self) -> bool:
        return self._file.isatty()


@contextlib.contextmanager
def whole_bar(rows: int) -> Iterator[None]:
    """A bar for `rows` rows, which all that is scored within moves on.

    Args:
        rows: at most; what an earlier run had scored is not scored again.
    """
    with tqdm(total=rows, desc="Scoring", unit="row", file=sys.stderr) as bar:
        with contextlib.redirect_stderr(_Above(sys.stderr)), progress.on(bar):
            yield
        bar.total = bar.n
