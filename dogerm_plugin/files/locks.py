"""Locks on folders, which end with their process, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing is locked and nothing left over is removed
    fcntl = None  # type: ignore[assignment]


def lock_of(folder: Path, wait: bool = False) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends.

    None where another process holds it, or the file system has no locks.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time: the moments of clean-up and of the swap."""
    descriptor = lock_of(folder, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
