# SPDX-License-Identifier: Apache-2.0
"""Rows that a command is pointed at: a file of them, or a data set on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError
from harness.rows import local_files

Row = dict[str, Any]

ADVICE = "correct the name, --split or --name, or name a file"


class Source(NamedTuple):
    """Where rows are, and what a task's YAML says of them.

    Attributes:
        path: a file's path, or what `datasets.load_dataset` takes.
        split: of a data set.
        configuration: of a data set with several.
        columns: what a task's YAML says of them; None without one.
        allow_markup: what a task's YAML says.
        task: the task's name in its YAML.
    """

    path: str
    split: str = "test"
    configuration: str | None = None
    columns: Mapping[str, Any] | None = None
    allow_markup: bool = False
    task: str | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a file on this machine."""
        return bool(local_files.ending(Path(self.path)))

    def rows(self) -> Iterator[tuple[str, Row]]:
        """The rows, each with its place: a line or a row.

        Raises:
            HarnessError: there is none, or it is damaged.
        """
        if self.is_file:
            yield from local_files.numbered(Path(self.path).expanduser())
            return
        if Path(self.path).exists() and not Path(self.path).is_dir():
            raise HarnessError(
                f"{self.path} is no {', '.join(local_files.ENDINGS)} file (or .gz, .zst of one)"
            )
        from harness.rows.datasets import from_hub

        rows = from_hub(self.path, self.split, self.configuration, advice=ADVICE)
        for number, row in enumerate(rows, start=1):
            yield f"row {number}", row
