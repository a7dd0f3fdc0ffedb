# SPDX-License-Identifier: Apache-2.0
"""Reads safetensors files tensor by tensor, into memory of its own.

Not mapped, as safetensors' own reader has it: where a mapped file is cut short by another program
before its pages are touched, the kernel ends the process (SIGBUS) without a word. A read that comes
out short can be told.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from mergekit.io.lazy_tensor_loader import LazyTensorLoader, ShardedTensorIndex
from safetensors import safe_open

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.plain_files import Stamps

# safetensors' names: https://github.com/huggingface/safetensors#format
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
# Bytes of the buffers that serve one tensor after another. To touch new memory takes as long as to
# read into it; larger tensors are few, and their memory is better given back.
SMALLEST, LARGEST = 4 << 20, 32 << 20
BUFFERS = 2


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: its file, dtype (safetensors' name), shape, and bytes in the file."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(file: Path) -> dict[str, StoredTensor]:
    """What a safetensors file holds.

    Raises:
        SafetensorError: it is truncated, or none.
    """
    with safe_open(str(file), framework="pt"):
        pass  # checks the header against the file's size, and all of its offsets
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    begin = 8 + length
    return {
        name: StoredTensor(
            file,
            one["dtype"],
            tuple(one["shape"]),
            begin + one["data_offsets"][0],
            begin + one["data_offsets"][1],
        )
        for name, one in header.items()
        if name != "__metadata__"
    }


class Shards(LazyTensorLoader):
    """mergekit's loader of a checkpoint, but for how a file is read.

    A tensor's memory serves the next one when nothing holds the tensor any more.

    Args:
        index: see `LazyTensorLoader`.
        stored: every tensor of the index.
        stamps: the files' state when `stored` was read; another state is refused.
    """

    def __init__(
        self, index: ShardedTensorIndex, stored: Mapping[str, StoredTensor], stamps: Stamps
    ) -> None:
        super().__init__(index)
        self._stored = stored
        self._stamps = stamps
        self._opened: tuple[Path, BinaryIO] | None = None
        self._buffers: list[np.ndarray] = []

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """See `LazyTensorLoader.get_tensor`.

        Raises:
            MergeError: the file changed since its header was read.
        """
        name = next((k for k in (key, *(aliases or ())) if k in self._stored), None)
        if name is None:
            if raise_on_missing:
                raise KeyError(key)
            return None
        with self.lock:
            tensor = self._read(self._stored[name])
        return tensor.to(device)

    def flush(self) -> None:
        """Close the file."""
        with self.lock:
            self._close()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def _read(self, one: StoredTensor) -> torch.Tensor:
        if one.dtype not in DTYPES:
            raise MergeError(f"{one.file}: stores numbers as {one.dtype}, which can't be merged")
        if self._opened is None or self._opened[0] != one.file:
            self._close()
            self._opened = one.file, one.file.open("rb", buffering=0)
        file = self._opened[1]
        self._stamps.check_one(one.file, os.fstat(file.fileno()))
        size = one.end - one.start
        tensor = torch.from_numpy(self._buffer(size)[:size])
        content = memoryview(tensor.numpy())  # type: ignore[arg-type]
        done = 0
        file.seek(one.start)
        while done < size:  # a read may stop half-way: at 2 GB, on some network file systems
            count = file.readinto(content[done:])  # type: ignore[attr-defined]
            if not count:
                self._stamps.check_one(one.file, os.fstat(file.fileno()))
                raise MergeError(
                    f"{one.file}: ends at {one.start + done:,} bytes, in the middle of a tensor; "
                    "fetch it again"
                )
            done += count
        return tensor.view(DTYPES[one.dtype]).view(one.shape)

    def _buffer(self, size: int) -> np.ndarray:
        if size > LARGEST:
            return np.empty(size, np.uint8)
        for index in range(len(self._buffers)):
            # a tensor made of it, or of a part of that, would hold it: then there is another owner
            if self._buffers[index].nbytes >= size and _is_idle(self._buffers, index):
                return self._buffers[index]
        room = max(SMALLEST, 1 << (size - 1).bit_length())
        self._buffers = [*self._buffers[1 - BUFFERS :], np.empty(room, np.uint8)]
        return self._buffers[-1]


def _is_idle(buffers: list[np.ndarray], index: int) -> bool:
    """Whether only the list holds a buffer: the list's reference, and that of the call."""
    return sys.getrefcount(buffers[index]) <= 2
