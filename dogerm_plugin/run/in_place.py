"""The swap where a folder can't be renamed: file by file, in the target itself.

An overlay file system without `redirect_dir` refuses to rename a folder of its lower layer (a
container image's) with "Invalid cross-device link". Files can be moved there, and the user's stay
where they are. It is not one step: config.json goes first and comes last, so that no mixture loads,
and `replace` can be called again after a kill, to go on.
"""

from __future__ import annotations

import os
from pathlib import Path

from dogerm_plugin.run import earlier_output, manifest
from dogerm_plugin.run.manifest import NAME, files_below

_CONFIG = "config.json"


def replace(stage: Path, final: Path, old: Path) -> None:
    """Move a stage's files into the target, and what they replace out of it.

    Args:
        stage: a complete output with its manifest, and links to the user's files.
        final: the target.
        old: where to, made if need be, and removed in the end.

    Raises:
        OSError: a file can't be moved; call it again when it can.
    """
    if (stage / NAME).exists():
        new, before = manifest.read(stage), manifest.read(final)
        unasked = earlier_output.read_unasked(stage)
        names = sorted(files_below(final), key=lambda name: name != _CONFIG)
        for name in names:
            waiting = (stage / name).exists()
            if name == NAME or (name in new.files and not waiting):
                continue  # moved already
            if before.is_ours(final, name):
                _move(final / name, old / name)
            elif name in new.files or unasked(name):
                os.rename(final / name, final / earlier_output.free_name(final, name, final / name))
        for name in sorted(new.files, key=lambda name: name == _CONFIG):
            if (stage / name).exists():
                _move(stage / name, final / name)
        if not before.files and os.path.lexists(final / NAME):
            os.rename(final / NAME, final / earlier_output.free_name(final, NAME, final / NAME))
        # A move changes the times by which large files are known.
        manifest.write(stage, manifest.taken(final, new.files))
        _move(stage / NAME, final / NAME)
    if old.exists():
        for root, _, files in os.walk(old, topdown=False):
            for name in files:
                (Path(root) / name).unlink()
            os.rmdir(root)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(source, target)
