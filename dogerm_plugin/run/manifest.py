"""What this project wrote into an output folder, so that it removes that and nothing else.

`.dogerm-manifest` in the folder names every file that was written, with its size and its sha256.
A file above `HASHED` bytes has its times instead: hashing 14 GB would take half a minute, after a
merge that takes little longer. It is ours while `st_ctime`, the time of its last change of any
kind, which no program can set, is as recorded. So a large file that was copied or had its mode
changed counts as the user's; a small one is known wherever it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dogerm_plugin.files import atomic

NAME = ".dogerm-manifest"
HASHED = 32 * 2**20
_SECOND = 10**9


@dataclass(frozen=True)
class Manifest:
    """What was written to one output folder.

    Attributes:
        files: path from the folder, with ``/`` → what `_described` gives.
    """

    files: dict[str, dict[str, Any]]

    def is_ours(self, folder: Path, name: str) -> bool:
        """Whether a file is what was written there, to the byte; never for a link."""
        if name == NAME:
            return bool(self.files)
        known = self.files.get(name)
        if not known:
            return False
        try:
            status = os.lstat(folder / name)
            if not stat.S_ISREG(status.st_mode) or status.st_size != known.get("size"):
                return False
            if status.st_size > HASHED and not _times_prove(status):
                return False
            return _described(folder / name, status) == known
        except OSError:
            return False


NOTHING = Manifest({})


def _described(file: Path, status: os.stat_result) -> dict[str, Any]:
    if status.st_size > HASHED:
        times = {"mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
        return {"size": status.st_size, **times}
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"size": status.st_size, "sha256": digest}


def _times_prove(status: os.stat_result) -> bool:
    """Not on Windows, whose `st_ctime` is the creation's.

    Nor where times are whole seconds, within which a file can be replaced unseen.
    """
    return os.name == "posix" and status.st_ctime_ns % _SECOND != 0


def files_below(folder: Path) -> Iterator[str]:
    """Every file or link below a folder, as its path from it; links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        for name in (*files, *links):
            yield (Path(root) / name).relative_to(folder).as_posix()


def taken(folder: Path, names: Iterable[str] | None = None) -> Manifest:
    """The manifest of all files that are in a folder now, or of some of them."""
    files: dict[str, dict[str, Any]] = {}
    for name in sorted(files_below(folder) if names is None else names):
        status = os.lstat(folder / name)
        if name != NAME and stat.S_ISREG(status.st_mode):
            files[name] = _described(folder / name, status)
    return Manifest(files)


def write(folder: Path, manifest: Manifest) -> None:
    """Write it into the folder, in one step."""
    text = json.dumps({"written_by": "dogerm", "files": manifest.files}, indent=1)
    atomic.write_text(folder / NAME, f"{text}\n")


def read(folder: Path) -> Manifest:
    """The manifest in a folder; `NOTHING` where there is none that can be read."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        files = content["files"]
        if content["written_by"] == "dogerm" and all(isinstance(f, dict) for f in files.values()):
            return Manifest(files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # a file of that name which is not ours is the user's
    return NOTHING
