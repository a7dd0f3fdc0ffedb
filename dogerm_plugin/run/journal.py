"""How far a swap of output folders has come, as it stands on the disk: finished or undone later.

`.NAME.merging-XXXX/` beside the target holds `journal.json`, the folder `NAME`, and `old` where
folders can't be exchanged in one step.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from dogerm_plugin.files import atomic
from dogerm_plugin.run import earlier_output, in_place, manifest

FILE = "journal.json"
OLD = "the-old-output"
# NAME is half-made: the target is as it was.
MAKING = "making"
# NAME is complete; it, or else the old output, stands at the target.
SWAPPING = "swapping"
# File by file, in the target itself.
INSIDE = "inside"


def write(work: Path, state: str, stage: Path) -> None:
    """Say how far it has come, in one step.

    Args:
        work: the folder beside the target.
        stage: the new output, known again by its inode wherever it is.
    """
    content = {"state": state, "inode": stage.stat().st_ino}
    atomic.write_text(work / FILE, json.dumps(content))


def settle(work: Path, final: Path) -> bool:
    """Bring a merge that has ended, well or not, to its end, and remove its folder.

    Whatever of it is at the target stays there; what is the user's gets there.

    Returns:
        False where the folder is none of ours and was left alone.

    Raises:
        OSError: something can't be moved or removed.
    """
    state, inode = _read(work)
    stage, old = work / final.name, work / OLD
    if not state:
        return _remove_if_empty(work)
    if state == INSIDE:
        in_place.replace(stage, final, old)
    elif state == SWAPPING:
        _settle_swap(stage, final, old, inode)
    # Here the stage is the new output or half of it, and links to what is the user's.
    shutil.rmtree(stage, ignore_errors=True)
    for name in (f"{FILE}.partial", FILE):
        (work / name).unlink(missing_ok=True)
    os.rmdir(work)
    return True


def _settle_swap(stage: Path, final: Path, old: Path, new: int) -> None:
    if old.exists() and not final.exists():
        old.rename(final)
    elif old.exists() and final.stat().st_ino != new:
        earlier_output.give_back(old, final)  # a folder was made meanwhile where none stood
    elif old.exists():
        earlier_output.retire(old, final, manifest.read(old))
    elif stage.exists() and stage.stat().st_ino != new:
        earlier_output.retire(stage, final, manifest.read(stage))  # exchanged


def _read(work: Path) -> tuple[str, int]:
    try:
        content = json.loads((work / FILE).read_text(encoding="utf-8"))
        state, inode = content["state"], content["inode"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0
    return (state, inode) if state in (MAKING, SWAPPING, INSIDE) else ("", 0)


def _remove_if_empty(work: Path) -> bool:
    """Remove the folder of a process that was killed before it wrote anything; only that."""
    written = [name for name in manifest.files_below(work) if name != f"{FILE}.partial"]
    if written:
        return False
    shutil.rmtree(work)
    return True
