"""Which folders can be replaced as a whole; the others are refused before anything is touched."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from dogerm_plugin.errors import MergeError

try:
    import fcntl
except ImportError:  # not on Windows, which has no such flags either
    fcntl = None  # type: ignore[assignment]

MOUNTS = "/proc/self/mountinfo"
# linux/fs.h: FS_IOC_GETFLAGS, FS_IMMUTABLE_FL, FS_APPEND_FL (`chattr +i`, `+a`)
_GET_FLAGS, _IMMUTABLE, _APPEND = 0x80086601, 0x10, 0x20


def check(target: str, inputs: list[Path]) -> None:
    """Refuse a target that can't be replaced as a whole.

    Args:
        target: the output folder as the user names it.
        inputs: the folders of the models that are merged.

    Raises:
        MergeError: it is a file, a mount point, the current folder or one above it; it is or
            holds an input model; or see `check_access`.
    """
    final = Path(os.path.realpath(target))
    if final.exists() and not final.is_dir():
        raise MergeError(f"{target}: is a file; name a folder for the merged model")
    here = Path.cwd()
    mounts = mounts_in(final) if final.is_dir() else []
    mounted = os.path.ismount(final) or final in mounts
    if final == here or final in here.parents or mounted:
        what = "a mount point" if mounted else "the current folder or one above it"
        raise MergeError(
            f"{target}: is {what}, and the output folder is replaced as a whole; name a folder "
            f"inside it, such as {os.path.join(target, 'merged')}"
        )
    for folder in inputs:
        if not folder.exists():
            continue  # a Hub id
        if final in (real := Path(os.path.realpath(folder)), *real.parents):
            raise MergeError(
                f"{target}: holds the input model {folder}, which the output would replace; name "
                "another folder"
            )
    check_access(final)


def check_access(final: Path) -> None:
    """Refuse an existing folder that holds a mount, or that this user may not replace.

    Raises:
        MergeError: so it is; the message says what is in the way.
    """
    if not final.is_dir():
        return
    if mounts := mounts_in(final):
        raise MergeError(
            f"{final}: holds the mount point {mounts[0]}, and the output folder is replaced as a "
            "whole; unmount it or name another folder"
        )
    parent = final.parent
    _check_owner(final)
    for folder, what in ((parent, "the folder it is in"), (final, "the output folder")):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
            raise _refusal(final, f"you may not write to {what}, {folder}")
    for folder in (parent, final):
        _check_flags(final, folder)
    sticky = parent.stat().st_mode & stat.S_ISVTX
    if sticky and _user() not in (0, parent.stat().st_uid, final.stat().st_uid):
        raise _refusal(final, f"{parent} has the sticky bit, and the output folder is another's")
    for root, folders, files in os.walk(final):
        for name in folders:
            path = Path(root) / name
            if path.is_symlink():
                continue
            _check_owner(final, path)
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
                raise _refusal(final, f"you may not write to {path}")
            _check_flags(final, path)
        for name in files:
            _check_flags(final, Path(root) / name)


_EFFECTIVE = os.access in os.supports_effective_ids


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _check_owner(final: Path, path: Path | None = None) -> None:
    """A folder that is made anew can't be given to another user, but by root."""
    owner = (path or final).stat().st_uid
    if _user() not in (0, owner):
        name = path or "the output folder"
        raise _refusal(final, f"{name} belongs to user {owner}, and you are user {_user()}")


def _check_flags(final: Path, path: Path) -> None:
    mode = os.lstat(path).st_mode
    if fcntl is None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return  # not ours to read; links to it may still be made
    try:
        answer = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
    except OSError:  # a file system without such flags
        return
    finally:
        os.close(descriptor)
    flags = int.from_bytes(answer[:4], "little")
    if flags & (_IMMUTABLE | _APPEND):
        letter = "i" if flags & _IMMUTABLE else "a"
        raise _refusal(final, f"{path} is set immutable (lsattr shows {letter})")


def _refusal(final: Path, why: str) -> MergeError:
    return MergeError(
        f"{final}: can't be replaced: {why}; nothing was changed, name another folder"
    )


def mounts_in(folder: Path) -> list[Path]:
    """The mount points at and below a folder, bind mounts too where Linux lists them.

    Args:
        folder: an existing folder, links resolved.
    """
    try:
        lines = Path(MOUNTS).read_bytes().splitlines()
    except OSError:
        below = (Path(root) / name for root, names, _ in os.walk(folder) for name in names)
        return [path for path in (folder, *below) if os.path.ismount(path)]
    points = (Path(os.fsdecode(_unescaped(line.split()[4]))) for line in lines)
    return sorted({point for point in points if point == folder or folder in point.parents})


def _unescaped(text: bytes) -> bytes:
    r"""mountinfo has ``\040`` for a space, and so on."""
    return re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), text)
