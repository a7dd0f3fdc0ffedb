# SPDX-License-Identifier: Apache-2.0
"""Files and folders that appear as a whole: the new one in one step, or the earlier one stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"


@contextmanager
def replacing(final: Path, partial: Path) -> Iterator[Path]:
    """Yield `partial` to write to; it takes the place of `final`, or goes if the body raises.

    Args:
        final: the file; a link is replaced, not followed.
        partial: beside it. What a killed process leaves has this name, so that it can be known.
    """
    try:
        yield partial
        os.replace(partial, final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(final: Path, text: str) -> None:
    """Write a file as a whole, by way of ``NAME.partial`` beside it."""
    with replacing(final, final.with_name(f"{final.name}.partial")) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def staging(parent: Path, prefix: str = PARTIAL) -> Iterator[Path]:
    """Yield a new folder in `parent`; what is not moved out of it is removed, whatever happens.

    The folder itself may be moved, too: its mode is then that of any new folder.
    """
    stage = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        stage.chmod(0o777 & ~_mask())  # mkdtemp's is for its owner alone
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def mode_of(final: Path) -> int:
    """The mode of the file that is replaced, or of any new file."""
    return final.stat().st_mode & 0o7777 if final.exists() else 0o666 & ~_mask()


def _mask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
