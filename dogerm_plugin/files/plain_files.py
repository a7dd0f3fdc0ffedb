# SPDX-License-Identifier: Apache-2.0
"""The files of a checkpoint's folder: plain ones only, and the same after the work as before.

To open a FIFO waits for a writer that never comes, and a device has no end. So what a name stands
for is looked at before anything opens it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dogerm_plugin.errors import MergeError

# What config, tokenizer and adapter are read from, whichever of them a folder has.
SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "value_head.safetensors",
    "value_head.bin",
)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)

# What tells one state of a file from another: size in bytes, time in ns, inode.
Stamp = tuple[int, int, int]


def require_plain(file: Path) -> None:
    """Refuse what can't be read as a file; a name that stands for nothing at all is let pass.

    Raises:
        MergeError: a folder, FIFO, socket or device, or a link to nothing.
    """
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        if file.is_symlink():
            raise MergeError(
                f"{file}: is a link to {os.readlink(file)}, which does not exist; fetch the file "
                "again"
            ) from None
        return
    except OSError as error:  # a loop of links, a folder that may not be entered
        raise MergeError(f"{file}: can't be read ({error.strerror or error})") from None
    if stat.S_ISREG(mode):
        if not os.access(file, os.R_OK):
            raise MergeError(f"{file}: can't be read: no permission")
        return
    kind = next((word for test, word in _KINDS if test(mode)), "no file")
    raise MergeError(f"{file}: is {kind}, expected a file; put the model's own there")


def require_plain_settings(folder: Path) -> None:
    """`require_plain` for all that config, tokenizer and adapter are read from."""
    for name in SETTINGS:
        require_plain(folder / name)


@dataclass(frozen=True)
class Stamps:
    """The state of files at one moment."""

    known: Mapping[Path, Stamp] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[Path]) -> Stamps:
        """The state of files now, of those that are there."""
        return cls({file: stamp(file.stat()) for file in files if file.is_file()})

    def check(self) -> None:
        """Hold the files of now against these.

        Raises:
            MergeError: one has changed, or is gone.
        """
        for file, before in self.known.items():
            try:
                self.check_one(file, file.stat())
            except FileNotFoundError:
                raise MergeError(_changed(file, f"had {before[0]:,} bytes and is gone")) from None

    def check_one(self, file: Path, now: os.stat_result) -> None:
        """Hold one file of now against its state; one that is not known is let pass."""
        before, after = self.known.get(file), stamp(now)
        if before is None or before == after:
            return
        what = "was replaced" if before[2] != after[2] else "was written to"
        if before[0] != after[0]:
            what += f", {before[0]:,} bytes before and {after[0]:,} now"
        raise MergeError(_changed(file, what))


def stamp(status: os.stat_result) -> Stamp:
    """What of a file's state is compared."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def _changed(file: Path, what: str) -> str:
    return (
        f"{file}: changed while it was merged ({what}); nothing was made of it: merge again when "
        "it is finished"
    )
