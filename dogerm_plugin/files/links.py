# SPDX-License-Identifier: Apache-2.0
"""A file in a second place without its bytes being written again, where the file system can."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy with its owner and times.

    Args:
        source: a link is taken as a link, not as what it leads to.
        target: must not exist.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without hard links, or another one
        shutil.copy2(source, target, follow_symlinks=False)
        status = os.lstat(source)
        if hasattr(os, "lchown") and os.geteuid() == 0:
            os.lchown(target, status.st_uid, status.st_gid)
