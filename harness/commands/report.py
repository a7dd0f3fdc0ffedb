# SPDX-License-Identifier: Apache-2.0
"""The command line of `dogerm report`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.options import FILE_OR_FOLDER, NEW_FOLDER, output
from harness.errors import told_in_one_line


@click.command()
@click.argument("folder", type=FILE_OR_FOLDER)
@output("The folder to write to, if not FOLDER itself.", to=NEW_FOLDER)
def report(folder: Path, output: Path | None) -> None:
    """Write what a sweep, a search or a router found as report.html and report.md.

    FOLDER is what `dogerm sweep -o` or `dogerm search -o` wrote, or the run of a routed model with
    --log_samples: the router beside each expert, and where each domain's rows went.

    The page is one file: its pictures are in it, it runs no script and asks for nothing from
    elsewhere. report.md says the same, and refers to the pictures beside it.
    """
    from harness.show.report import write

    with told_in_one_line():
        for path in write(folder, output):
            click.echo(path)
