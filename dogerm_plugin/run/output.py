"""A finished merge or none: output is made beside the target and takes its place when verified."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.locks import lock_of, locked
from dogerm_plugin.run import earlier_output, in_place, journal, manifest, target

LOG = logging.getLogger("dogerm")
_SHOWN = 5
check_target = target.check


@contextmanager
def staged(target_name: str) -> Iterator[Path]:
    """Yield a new folder to write the output to; on success it takes the target's place.

    The folder lies beside the target (`.NAME.merging-XXXX/NAME`), so that the last step is a
    rename. When the body raises, or the process is told to stop, it is removed and the target
    stays as it was. What a killed process left behind is put right by the next merge to the same
    target (`journal`). Of the target's files, only those that this project wrote there are replaced
    (`manifest`); the user's stay, some under another name (`earlier_output`).

    Raises:
        MergeError: the folder can't be replaced or its parent can't be written.
    """
    final = Path(os.path.realpath(target_name))
    prefix = f".{short(final.name)}.merging-"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with locked(final.parent):
            _clean_up(final, prefix)
            target.check_access(final)
            work = Path(tempfile.mkdtemp(prefix=prefix, dir=final.parent))
            lock = lock_of(work)
    except OSError as error:
        raise MergeError(
            f"{final.parent}: can't write the output there ({error}); name a folder elsewhere"
        ) from None
    try:
        with _stop_signals_raise():
            stage = work / final.name
            stage.mkdir()
            journal.write(work, journal.MAKING, stage)
            _take_over_access(final, stage)
            yield stage
            manifest.write(stage, manifest.taken(stage))
            with locked(final.parent):
                _swap(work, stage, final)
    finally:
        try:
            with locked(final.parent):
                journal.settle(work, final)
        except OSError as error:
            LOG.warning("%s: can't be removed (%s); look through it by hand", work, error)
        finally:
            if lock is not None:
                os.close(lock)


def short(name: str) -> str:
    """A name that leaves room, of 255 bytes, for what is put around it."""
    return name if len(os.fsencode(name)) <= 220 else sha256(os.fsencode(name)).hexdigest()[:32]


def _take_over_access(final: Path, stage: Path) -> None:
    if not final.is_dir():
        return
    try:
        earlier_output.keep_access(final, stage)
    except OSError as error:
        raise MergeError(
            f"{final}: its owner, group and mode can't be kept ({error}); name another folder"
        ) from None


def _swap(work: Path, stage: Path, final: Path) -> None:
    """Put the stage in the target's place; `journal.settle` clears what comes out of it."""
    if not final.exists():
        journal.write(work, journal.SWAPPING, stage)
        stage.rename(final)
        return
    target.check_access(final)  # a mount may have come since
    aside = earlier_output.carry(final, stage)
    journal.write(work, journal.SWAPPING, stage)
    if not _exchange(stage, final):
        try:
            final.rename(work / journal.OLD)
        except OSError as error:
            if error.errno != errno.EXDEV:  # an overlay file system renames no lower folder
                raise
            journal.write(work, journal.INSIDE, stage)
            in_place.replace(stage, final, work / journal.OLD)
        else:
            stage.rename(final)
    _tell(final, aside)


def _tell(final: Path, aside: list[tuple[str, str]]) -> None:
    if not aside:
        return
    listed = ", ".join(f"{name} as {new}" for name, new in aside[:_SHOWN])
    more = f" and {len(aside) - _SHOWN} more" if len(aside) > _SHOWN else ""
    text = (
        f"{final}: kept what was there and is not an unchanged file of an earlier merge, but would "
        f"be replaced or loaded with the new output: {listed}{more}"
    )
    LOG.warning("%s", " ".join(text.split()))


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can: no moment without an output."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(a), here, os.fsencode(b), exchange) == 0


def _clean_up(final: Path, prefix: str) -> None:
    """Finish or undo what a killed process left: its half-made output, a half-done swap."""
    for left in sorted(final.parent.iterdir()):
        if left.name.startswith(prefix) and left.is_dir() and not left.is_symlink():
            _settle_left(left, final)
    earlier = final.parent / f".{short(final.name)}.replaced"  # what a former version's swap left
    if earlier.is_dir() and not final.exists():
        earlier.rename(final)


def _settle_left(left: Path, final: Path) -> None:
    """Another user's, or another program's, is left alone: it is not to be trusted."""
    lock = None
    try:
        if hasattr(os, "geteuid") and left.stat().st_uid != os.geteuid():
            return
        if (lock := lock_of(left)) is None:  # a merge works there
            return
        if not journal.settle(left, final):
            LOG.warning("%s: left alone, as it was not made by this version of dogerm", left)
    except OSError as error:
        LOG.warning("%s: can't be removed (%s); look through it by hand", left, error)
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """Let SIGTERM unwind like Ctrl-C, so that the staged folder is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: Any) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        with suppress(TypeError):  # None: a handler that was not set from Python
            signal.signal(signal.SIGTERM, before)
