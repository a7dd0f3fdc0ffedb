# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are written as a whole: complete, or the earlier ones stay."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dogerm_plugin.files.atomic import PARTIAL, mode_of, replacing, staging
from harness.errors import HarnessError


def make_folder(path: Path) -> None:
    """Create the folder that a file is to be written to, before the work for it is done.

    Raises:
        HarnessError: it can't be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """Yield the path to write to; what is there takes the place of `path` if the body succeeds.

    It has the ending of `path`, lies beside it under a name that nothing had, and is removed
    whatever the body raises. A link is followed, and a file that was there gives its mode.

    Raises:
        HarnessError: the file can't be written.
    """
    final = Path(os.path.realpath(path))
    try:
        descriptor, name = tempfile.mkstemp(suffix=path.suffix, prefix=PARTIAL, dir=final.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(descriptor)
    try:
        with replacing(final, Path(name)) as partial:
            yield partial
            partial.chmod(mode_of(final))  # a temporary file's is for its owner alone
    except OSError as error:
        raise _unwritable(path, error) from error


def write_text(path: Path, text: str, **options: Any) -> None:
    """Write a file, complete or not at all, in a folder that is made if need be.

    Raises:
        HarnessError: it can't be written.
    """
    make_folder(path)
    with complete(path) as partial:
        partial.write_text(text, encoding="utf-8", **options)


@contextmanager
def together(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a folder to write files to that belong together; they are moved when all are written.

    Args:
        folder: where to.
        names: of the files, in the order in which they are moved; the earlier one of a file that
            was not written is removed.
    """
    with staging(folder) as stage:
        yield stage
        for name in names:
            if (stage / name).exists():
                (stage / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> HarnessError:
    return HarnessError(
        f"{path} can't be written ({error.strerror or error}); make room, or name another place"
    )
