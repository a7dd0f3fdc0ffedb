"""What of an earlier output folder stays beside a new output, and under which name."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from dogerm_plugin.files.links import link
from dogerm_plugin.files.model_files import READ_UNASKED, TEMPLATES
from dogerm_plugin.run import manifest
from dogerm_plugin.run.manifest import Manifest, files_below

SUFFIX = ".before-merge"
_LONGEST = 255  # bytes of a name, of most file systems


def carry(old: Path, new: Path) -> list[tuple[str, str]]:
    """Link all that is the user's into a new output, before it takes the old folder's place.

    So a kill at any moment loses none of it. What this project wrote there, as the manifest in
    `old` proves, is left out.

    Returns:
        (name, new name) of what would be replaced by the new output, or be loaded with it.
    """
    ours = manifest.read(old)
    unasked = read_unasked(new)
    aside = []
    for root, folders, _ in os.walk(old):
        for name in folders:
            source = Path(root) / name
            path = PurePosixPath(source.relative_to(old).as_posix())
            made = _folder(new, path)
            if source.is_symlink():
                continue
            if made.name != name:
                aside.append((str(path), str(made)))
            if not (new / made).exists():
                (new / made).mkdir()
                keep_access(source, new / made)
    others = [name for name in sorted(files_below(old)) if not ours.is_ours(old, name)]
    # A large file that is linked from elsewhere is not proved ours; the new one may be the same.
    theirs = [name for name in others if not _one_file(old / name, new / name)]
    places = {name: _place(new, name) for name in theirs}
    moved = {n for n in theirs if os.path.lexists(new / places[n]) or unasked(n)}
    for name in sorted(theirs, key=moved.__contains__):  # the names that stay come first
        if name in moved:
            places[name] = free_name(new, places[name], old / name)
            aside.append((name, places[name]))
        if not os.path.lexists(new / places[name]):
            link(old / name, new / places[name])
    _drop_empty(old, new, ours)
    return aside


def _drop_empty(old: Path, new: Path, ours: Manifest) -> None:
    """Remove folders that held nothing but our files; a user's empty folder stays."""
    made = {str(p) for name in ours.files for p in PurePosixPath(name).parents if str(p) != "."}
    for name in sorted(made, reverse=True):
        if (old / name).is_dir() and (new / name).is_dir() and not any((new / name).iterdir()):
            (new / name).rmdir()


def retire(old: Path, final: Path, ours: Manifest) -> None:
    """Remove a folder whose place was taken: only our files, and what stands in `final` too.

    What else is there, such as a file that was written to it at the last moment, moves to `final`.

    Args:
        ours: what was written to `old`; everything else is the user's.
    """
    unasked = read_unasked(final)
    # The manifest last: a kill on the way leaves it to go on with.
    for name in sorted(files_below(old), key=lambda name: name == manifest.NAME):
        if ours.is_ours(old, name) or _stands(old / name, final, _place(final, name)):
            (old / name).unlink()
        else:
            _move(old, final, name, unasked(name))
    for root, _, _ in os.walk(old, topdown=False):
        os.rmdir(root)


def give_back(old: Path, final: Path) -> None:
    """Move all of a folder to `final`, ours or not; where a name is taken, to another one."""
    for root, folders, _ in os.walk(old):
        for name in folders:
            if not (Path(root) / name).is_symlink():
                below = (Path(root) / name).relative_to(old).as_posix()
                (final / _folder(final, PurePosixPath(below))).mkdir(parents=True, exist_ok=True)
    for name in sorted(files_below(old)):
        _move(old, final, name, False)
    for root, _, _ in os.walk(old, topdown=False):
        os.rmdir(root)


def _move(old: Path, final: Path, name: str, aside: bool) -> None:
    target = _place(final, name)
    if aside or os.path.lexists(final / target):
        target = free_name(final, target, old / name)
    (final / target).parent.mkdir(parents=True, exist_ok=True)
    os.rename(old / name, final / target)


def _place(new: Path, name: str) -> str:
    """Where a file is to go: its own path, but for a folder that has the name of a new file."""
    path = PurePosixPath(name)
    return str(_folder(new, path.parent) / path.name)


def _folder(new: Path, path: PurePosixPath) -> PurePosixPath:
    if not path.parts:
        return path
    here = _folder(new, path.parent) / path.name
    names = _names(str(here))
    while os.path.lexists(new / here) and ((new / here).is_symlink() or not (new / here).is_dir()):
        here = PurePosixPath(next(names))
    return here


def free_name(folder: Path, name: str, source: Path) -> str:
    """`name.before-merge`, or with a number, where nothing stands yet or the same does."""
    for candidate in _names(name):
        if not os.path.lexists(folder / candidate) or _same(source, folder / candidate):
            return candidate
    raise AssertionError("unreachable")


def _names(name: str) -> Iterator[str]:
    number = 1
    while True:
        suffix = SUFFIX if number == 1 else f"{SUFFIX}.{number}"
        path = PurePosixPath(name)
        stem = os.fsencode(path.name)[: _LONGEST - len(suffix)].decode("utf-8", "ignore")
        yield str(path.with_name(stem + suffix))
        number += 1


def _stands(source: Path, final: Path, name: str) -> bool:
    """Whether the very file, or a faithful copy, is in `final` already."""
    if _same(source, final / name):
        return True
    for candidate in _names(name):
        if not os.path.lexists(final / candidate):
            return False
        if _same(source, final / candidate):
            return True
    return False


def _one_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except OSError:
        return False


def _same(one: Path, other: Path) -> bool:
    try:
        first, second = os.lstat(one), os.lstat(other)
    except OSError:
        return False
    if os.path.samestat(first, second):
        return True
    if stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
        return False
    if stat.S_ISLNK(first.st_mode):
        return os.readlink(one) == os.readlink(other)
    return stat.S_ISREG(first.st_mode) and filecmp.cmp(one, other, shallow=False)


def keep_access(source: Path, target: Path) -> None:
    """Give a new folder the owner, group, mode and access lists (ACL) of the one it stands for.

    Raises:
        OSError: the system refuses it.
    """
    wanted, current = source.stat(), target.stat()
    if (wanted.st_uid, wanted.st_gid) != (current.st_uid, current.st_gid):
        os.chown(target, wanted.st_uid, wanted.st_gid)
    shutil.copystat(source, target)


def read_unasked(new: Path) -> Callable[[str], bool]:
    """Whether a user's file of a name would be loaded with the new output: see `READ_UNASKED`.

    Beside the fixed names, these are the modules of code that the new output's configs name, and
    all chat templates of `TEMPLATES`; the same in each model that lies in a folder of the output.
    """
    own = _loaded_with(new)
    inner = {file.parent.name: _loaded_with(file.parent) for file in new.glob(f"*/{manifest.NAME}")}

    def unasked(name: str) -> bool:
        folder, _, rest = name.partition("/")
        return own(name) or (folder in inner and inner[folder](rest))

    return unasked


def _loaded_with(new: Path) -> Callable[[str], bool]:
    """`read_unasked` of one model's folder."""
    loaded = set(READ_UNASKED)
    for config in ("config.json", "tokenizer_config.json"):
        try:
            content = json.loads((new / config).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        named = content.get("auto_map") if isinstance(content, dict) else None
        for one in named.values() if isinstance(named, dict) else ():
            for text in one if isinstance(one, list) else [one]:
                if isinstance(text, str) and "--" not in text:
                    loaded.add(f"{text.rpartition('.')[0].replace('.', '/')}.py")

    def unasked(name: str) -> bool:
        path = PurePosixPath(name)
        return name in loaded or (str(path.parent) == TEMPLATES and path.suffix == ".jinja")

    return unasked
