"""Reads a written output back: every tensor there, finite, and the head equal to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files import head_files
from dogerm_plugin.files.shards import DTYPES, StoredTensor, read_header
from dogerm_plugin.methods.linear import all_finite
from dogerm_plugin.methods.threads import shared_out

# Bytes that are looked at at once; a multiple of every element's size.
BLOCK = 8 << 20


def verify(folder: Path, names: set[str], head: dict[str, torch.Tensor]) -> None:
    """Check every tensor of an output.

    Args:
        folder: the staged output.
        names: every tensor that was planned.
        head: name → tensor as the reward model stores it; must be equal to the bit.

    Raises:
        MergeError: names or index not as planned, a value that is not finite, another
            head. Nothing has been moved to the target yet.
    """
    file_of: dict[str, str] = {}
    blocks: list[Block] = []
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        if file.name in head_files.FILES:
            continue  # copied, and held against the reward model's by `merge`
        if file.suffix == ".bin":
            state = torch.load(file, weights_only=True, mmap=True)
            for name, tensor in state.items():
                _check(name, tensor, head)
        else:
            state = _header(file)
            for name, one in state.items():
                size = one.end - one.start if name in head else BLOCK
                starts = range(one.start, max(one.end, one.start + 1), max(size, 1))
                blocks += [(name, one, start, min(start + size, one.end)) for start in starts]
        file_of |= dict.fromkeys(state, file.name)
    shared_out(lambda some: _check_blocks(some, head), blocks)
    if set(file_of) != names:
        wrong = sorted(set(file_of) ^ names)
        raise MergeError(f"the output lacks or adds {len(wrong)} tensors: {wrong[:3]}")
    indices = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.index.json")]
    wanted = [file_of] if len(set(file_of.values())) > 1 else []
    if [index["weight_map"] for index in indices] != wanted:
        raise MergeError(f"{folder.name}: the index doesn't match the files beside it")


# Name, place in the file, and the part of it that is looked at.
Block = tuple[str, StoredTensor, int, int]


def _check_blocks(blocks: Iterator[Block], head: dict[str, torch.Tensor]) -> None:
    """Read blocks, not mapped: what was read of a mapped file counts as this process's memory."""
    buffer = np.empty(BLOCK, np.uint8)
    for name, one, start, end in blocks:
        if end - start > len(buffer):
            buffer = np.empty(end - start, np.uint8)
        content = buffer[: end - start]
        with one.file.open("rb", buffering=0) as file:
            file.seek(start)
            done = 0
            while done < len(content):
                count = file.readinto(memoryview(content)[done:])  # type: ignore[arg-type]
                if not count:
                    raise _badly(one.file, f"it ends at {start + done:,} bytes")
                done += count
        tensor = torch.from_numpy(content).view(DTYPES[one.dtype])
        _check(name, tensor.view(one.shape) if name in head else tensor, head)


def _check(name: str, tensor: torch.Tensor, head: dict[str, torch.Tensor]) -> None:
    if tensor.is_floating_point() and not all_finite(tensor):
        raise MergeError(f"output tensor {name} has NaN or Inf")
    if name in head and not same_bits(tensor, head[name]):
        raise MergeError(f"the head {name} is not the reward model's to the bit")


def _header(file: Path) -> dict[str, StoredTensor]:
    try:
        return read_header(file)
    except (SafetensorError, OSError) as error:
        raise _badly(file, error) from None


def _badly(file: Path, why: object) -> MergeError:
    return MergeError(f"{file.name} was written badly ({why}): is the disk full?")


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal dtype, shape and bytes: NaNs and signed zeros too, unlike torch.equal."""
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(
            a.contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8)
        )
    )
