# SPDX-License-Identifier: Apache-2.0
"""Weight files with other names for the same bytes: linked where nothing changes, copied else.

A number is never read as a number. A file of which a tensor is renamed or left out gets a new
header, and the other tensors' bytes after it; tensors that are new come into a file of their own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dogerm_plugin.files.links import link
from dogerm_plugin.files.shards import StoredTensor, read_header
from dogerm_plugin.files.weight_files import WeightFiles
from harness.check.consumers.need import Plan
from harness.errors import HarnessError

INDEX = "model.safetensors.index.json"
_CHUNK = 16 << 20


def write(files: WeightFiles, folder: Path, plan: Plan, stage: Path) -> None:
    """Write a model's weight files as a plan has them.

    Args:
        files: the model's.
        folder: where they lie, some perhaps in folders of it.
        plan: what is renamed, left out and added.
        stage: the new folder.

    Raises:
        HarnessError: tensors would have to change in a pickle.
    """
    changes = bool(plan.names or plan.dropped or plan.added)
    if not changes:
        for file in files.all:
            place = stage / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            put(file, place)
        return
    pickles = [file for file in files.shards if file.suffix != ".safetensors"]
    if pickles:
        raise HarnessError(
            f"{pickles[0]}: its tensors need other names, and it is a pickle: load the model and "
            "save it again (save_pretrained writes safetensors)"
        )
    count = len(files.shards) + bool(plan.added)
    places: dict[str, str] = {}
    for number, file in enumerate(files.shards, start=1):
        name = "model.safetensors" if count == 1 else f"model-{number:05}-of-{count:05}.safetensors"
        held = read_header(file)
        kept = {old: plan.names.get(old, old) for old in held if old not in plan.dropped}
        if all(old == new for old, new in kept.items()) and len(kept) == len(held):
            put(file, stage / name)
        else:
            _renamed(file, held, kept, stage / name)
        places |= dict.fromkeys(kept.values(), name)
    if plan.added:
        from safetensors.torch import save_file

        name = f"model-{count:05}-of-{count:05}.safetensors"
        added = {new: tensor.contiguous() for new, tensor in plan.added.items()}
        save_file(added, stage / name, {"format": "pt"})
        places |= dict.fromkeys(added, name)
    if count > 1:
        _index(stage, places)


def put(source: Path, target: Path) -> None:
    """Link a file that no one writes to; where it is a link itself, what it leads to."""
    link(Path(os.path.realpath(source)), target)


def _renamed(
    source: Path, held: Mapping[str, StoredTensor], kept: Mapping[str, str], target: Path
) -> None:
    """The same bytes after another header.

    The format: https://github.com/huggingface/safetensors#format
    """
    order = sorted(kept, key=lambda name: held[name].start)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for old in order:
        one, begin = held[old], end
        end += one.end - one.start
        header[kept[old]] = {
            "dtype": one.dtype,
            "shape": list(one.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as read, target.open("wb") as written:
        written.write(len(text).to_bytes(8, "little") + text)
        for old in order:
            _copy(read, written, held[old])
    shutil.copymode(source, target)


def _copy(read: BinaryIO, written: BinaryIO, one: StoredTensor) -> None:
    read.seek(one.start)
    left = one.end - one.start
    while left:
        content = read.read(min(left, _CHUNK))
        if not content:
            raise HarnessError(f"{one.file}: ends in the middle of a tensor; fetch it again")
        written.write(content)
        left -= len(content)


def _index(stage: Path, places: Mapping[str, str]) -> None:
    size = sum(
        one.end - one.start
        for file in sorted({*places.values()})
        for one in read_header(stage / file).values()
    )
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    (stage / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
