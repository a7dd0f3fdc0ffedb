# SPDX-License-Identifier: Apache-2.0
"""A folder of finished measurements: each there whole or not at all, and never of something else.

Every measurement says what it was made with. What was made with another recipe, model file, code or
library is not read; a run that finds such results says what has changed and sets them aside, to
take them up again should everything be as it was. What was made with other data is replaced.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dogerm_plugin.files.atomic import PARTIAL, staging, write_text
from harness.errors import HarnessError
from harness.runs.identity import as_text, differences, digest

RESULTS, EARLIER = "results", "earlier-results"
MADE_WITH = "made-with.json"
_LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LISTED = 5


def check_folder(folder: Path) -> None:
    """Refuse a folder that can't be worked in, before anything is loaded for it.

    Raises:
        HarnessError: another process works there, or it holds other things than measurements.
    """
    if not folder.is_dir():
        return
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    ours = (folder / RESULTS / MADE_WITH).is_file() or (folder / EARLIER).is_dir()
    if (folder / RESULTS).is_dir() and not any((folder / RESULTS).iterdir()):
        there.discard(RESULTS)  # of a run that ended before its first measurement
    if there and not ours:
        raise HarnessError(
            f"{folder} holds other things than results of this command "
            f"({', '.join(sorted(there)[:3])}): name a new or empty folder with -o"
        )
    if (folder / _LOCK).exists():
        _locked(folder).release()


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HarnessError(
            f"{folder}: another run works in this folder; wait for it, or name another with -o"
        ) from None
    return lock


@contextmanager
def alone(folder: Path, mark: str) -> Iterator[None]:
    """Work in a folder that nobody else works in.

    Args:
        folder: made if need be.
        mark: what lies in it where it is of this command.

    Raises:
        HarnessError: another process works there, or it holds other things.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if there and mark not in there:
        raise HarnessError(
            f"{folder} holds other things than results of this command "
            f"({', '.join(there[:3])}): name a new or empty folder with -o"
        )
    lock = _locked(folder)
    try:
        yield
    finally:
        lock.release()


class Store:
    """The measurements in a folder.

    Args:
        folder: made if need be; nobody else may work in it meanwhile.
        made_with: what all measurements depend on: part -> its text or digest.

    Attributes:
        changed: what is not as it was when the folder's measurements were made; they are set aside.
        aside: where to.
        taken_up: whether measurements that had been set aside are taken up again.

    Raises:
        HarnessError: another process works there.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, str]) -> None:
        self.folder = folder
        self.results = folder / RESULTS
        self.changed: list[str] = []
        self.aside: Path | None = None
        self.taken_up = False
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        try:
            self._open(dict(made_with))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others work in the folder."""
        self._lock.release()

    def news(self) -> list[str]:
        """What a user is to be told of earlier results, a line each."""
        lines = []
        if self.changed:
            more = len(self.changed) - _LISTED
            listed = [*self.changed[:_LISTED], *([f"and {more} more"] if more > 0 else [])]
            lines.append(
                f"earlier results are set aside in {self.aside}, as they were made with something "
                f"else: {'; '.join(listed)}"
            )
        if self.taken_up:
            lines.append(f"results that had been set aside fit again: {self.results} has them")
        return lines

    def path(self, place: str, task: str) -> Path:
        """Where a measurement is, or will be.

        Args:
            place: the label of the point, and the role of the rows: ``0.35/select``.
            task: of whose rows it is.
        """
        return self.results / place / task

    def has(self, place: str, task: str, data: str) -> bool:
        """Whether a measurement is there, complete, and of the data of this digest."""
        folder = self.path(place, task)
        made_with = _read(folder / MADE_WITH)
        return made_with.get("data") == data and made_with.get("files") == _sizes(folder)

    def outdated(self, places: Iterable[str], task: str, digest: str) -> bool:
        """Whether a task was measured at any of the places on other data than of this digest."""
        records = [_read(self.path(place, task) / MADE_WITH) for place in places]
        return any(digest not in one["data"] for one in records if "data" in one)

    def labels(self, role: str) -> set[str]:
        """The points that there are measurements of on the rows of a role."""
        return {path.parent.name for path in self.results.glob(f"*/{role}")}

    @contextmanager
    def writing(self, place: str, task: str, data: str) -> Iterator[Path]:
        """Yield a folder to write one measurement to, which takes its place when it is complete."""
        with staging(self.results) as partial:
            yield partial
            about = {"data": data, "files": _sizes(partial)}
            (partial / MADE_WITH).write_text(json.dumps(about), encoding="utf-8")
            _sync(partial)
            final = self.path(place, task)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                shutil.rmtree(final)
            partial.chmod(final.parent.stat().st_mode & 0o777)
            partial.rename(final)

    def _open(self, made_with: dict[str, str]) -> None:
        stamp = self.results / MADE_WITH
        for partial in (*self.folder.glob(f"{PARTIAL}*"), *self.results.glob(f"{PARTIAL}*")):
            shutil.rmtree(partial, ignore_errors=True)
        before = _read(stamp)
        if stamp.exists() and before == made_with:
            return
        if _holds_measurements(self.results):
            unreadable = [f"their {MADE_WITH} can't be read"]
            self.changed = differences(before, made_with) if before else unreadable
            self.aside = self._place_of(before)
            self.aside.parent.mkdir(exist_ok=True)
            if self.aside.exists():  # such results were there twice: the latest are kept
                shutil.rmtree(self.aside)
            self.results.rename(self.aside)
        earlier = self._place_of(made_with)
        if _read(earlier / MADE_WITH) == made_with:
            shutil.rmtree(self.results, ignore_errors=True)
            earlier.rename(self.results)
            self.taken_up = True
            return
        self.results.mkdir(exist_ok=True)
        write_text(stamp, as_text(made_with) + "\n")

    def _place_of(self, made_with: Mapping[str, str]) -> Path:
        return self.folder / EARLIER / digest(made_with)


def _holds_measurements(results: Path) -> bool:
    return any(results.glob(f"*/**/{MADE_WITH}"))


def _read(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name != MADE_WITH}


def _sync(folder: Path) -> None:
    """Have files on the disk before they are given their name: a crash leaves no empty ones."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Say what to do where the disk is full.

    Raises:
        HarnessError: it is.
    """
    try:
        yield
    except (OSError, HarnessError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise HarnessError(
                f"{folder}: {cause.strerror}; what is finished there is kept: make room and run "
                "the same command again"
            ) from error
        raise
