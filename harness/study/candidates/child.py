# SPDX-License-Identifier: Apache-2.0
"""A command in a process of its own, which ends when its parent does, however that ended.

``python -m harness.study.candidates.child MODULE:FUNCTION ARGUMENT ...`` calls what a console
script would call. What is written to a folder must not go on when the study that waited for it was
killed: the next one would begin there, too. The parent holds the other end of standard input.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import click

from harness.errors import HarnessError

_ERROR = "Error: "


def run(called: Sequence[str], folder: Path, log: Path) -> None:
    """Run a command, wait for it, and keep what it says.

    Args:
        called: ``MODULE:FUNCTION`` and its arguments.
        folder: where it runs.
        log: gets its output, after what is there.

    Raises:
        HarnessError: it failed; the message is the last line that it said.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "harness.study.candidates.child", *called]
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
    if status:
        with log.open("rb") as said:
            said.seek(start)
            lines = said.read().decode("utf-8", "replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if status < 0:
            last = f"it was ended by signal {-status} (9 may be the system, for memory)"
        raise HarnessError(last.removeprefix(_ERROR) or f"exit status {status}, see {log}")


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(143)


def main() -> None:
    """Call the function that the first argument names with the others as its own."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, _, function = sys.argv[1].partition(":")
    sys.argv = [module, *sys.argv[2:]]
    try:
        getattr(importlib.import_module(module), function)()
    except click.ClickException as error:  # of a function that is no command
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
