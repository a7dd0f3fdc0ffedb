# SPDX-License-Identifier: Apache-2.0
"""A file that is written as a whole: complete, or the earlier one stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        descriptor, name = tempfile.mkstemp(
            suffix=path.suffix, prefix=".partial-", dir=final.parent
        )
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(_mode(final))
        partial.replace(final)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _mode(final: Path) -> int:
    """Of the file that is replaced, or of any new file; a temporary one is its owner's only."""
    if final.exists():
        return final.stat().st_mode & 0o7777
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def _unwritable(path: Path, error: OSError) -> HarnessError:
    return HarnessError(
        f"{path} can't be written ({error.strerror or error}); make room, or name another place"
    )
