# SPDX-License-Identifier: Apache-2.0
"""Writes each merged tensor to its safetensors file at once, instead of a shard when it is full.

mergekit's own writer holds a whole shard (5 GB by default) in memory until then. A safetensors
file begins with a header that says where each tensor lies, so room is left for it, and what of the
room it doesn't need is filled with spaces, as the format allows:
https://github.com/huggingface/safetensors#format

A thread writes, for a write takes as long as a merge: meanwhile the next tensor is merged.
"""

from __future__ import annotations

import functools
import json
import os
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO

import safetensors.torch
import torch
from mergekit.io import tasks
from mergekit.io.tensor_writer import TensorWriter

# Every tensor must begin at a multiple of its element's size. All that are written at once have a
# multiple of the largest such size; the few others wait for the end of their file.
ALIGNED = 8
# Per tensor, beside its name: the header's fixed words, a dtype, a shape, two offsets.
ENTRY = 256
# Bytes that wait for the writing thread at most; a larger tensor waits alone.
WAITING = 64 << 20
# Up to so many bytes, what waits is a copy, so that the tensor's memory is free at once.
SMALL = 1 << 20


class StreamingWriter(TensorWriter):
    """mergekit's `TensorWriter`, but for when it writes: same files, names, shards and index.

    Args:
        out_path: the folder.
        names: all tensors that may be written, to know how long a header can get.
        max_shard_size: bytes of tensors in a file; 0 for no limit.
        override_basename: see `TensorWriter`.
    """

    current_shard_size: int

    def __init__(
        self,
        out_path: str,
        names: Collection[str],
        max_shard_size: int,
        override_basename: str | None = None,
    ) -> None:
        super().__init__(out_path, max_shard_size, override_basename=override_basename)
        room = ENTRY + sum(len(json.dumps(name)) + ENTRY for name in names)
        self._room = -room % ALIGNED + room
        self._file: BinaryIO | None = None
        self._header: dict[str, Any] = {}
        self._end = 0  # of the tensors written to this file, from the end of its header
        self._waiting: dict[str, torch.Tensor] = {}  # for the end of their file
        self._thread = ThreadPoolExecutor(1, "writer")  # one: what it is given stays in order
        self._given: deque[tuple[int, Future[None]]] = deque()

    def save_tensor(self, name: str, tensor: torch.Tensor, clone: bool = False) -> None:
        """Have a tensor written, on any device; it must not be changed then, but with `clone`.

        Raises:
            OSError: this tensor, or one before it, can't be written.
        """
        with self._lock:
            size = self.current_shard_size + tensor.nbytes
            if self.current_shard_size and 0 < self.max_shard_size < size:
                self._flush_current_shard()
            self.current_shard_size += tensor.nbytes
            if tensor.nbytes % ALIGNED:
                self._waiting[name] = tensor
            else:
                self._write(name, tensor)
            if clone:
                self._settle()

    def _write(self, name: str, tensor: torch.Tensor) -> None:
        if self._file is None:
            self._file = open(self._path(), "wb", buffering=0)  # noqa: SIM115
            self._file.seek(8 + self._room)
        content = memoryview(tensor.cpu().reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
        self._header[name] = {
            "dtype": _name(tensor.dtype),
            "shape": list(tensor.shape),
            "data_offsets": [self._end, self._end + len(content)],
        }
        self._end += len(content)
        self._give(self._file, bytes(content) if len(content) <= SMALL else content)

    def _give(self, file: BinaryIO, content: bytes | memoryview) -> None:
        """Have the thread write, when not too much waits for it."""
        waiting = sum(size for size, _ in self._given)
        while self._given and waiting + len(content) > WAITING:
            size, written = self._given.popleft()
            written.result()
            waiting -= size
        self._given.append((len(content), self._thread.submit(_write_all, file, content)))

    def _settle(self) -> None:
        """Wait until all is written."""
        while self._given:
            self._given.popleft()[1].result()

    def _flush_current_shard(self) -> None:
        """Close the file of the current shard, if it has any tensor."""
        largest_elements = sorted(self._waiting.items(), key=lambda item: -item[1].element_size())
        for name, tensor in largest_elements:
            self._write(name, tensor)
        if self._file is None:
            return
        self._settle()
        header = json.dumps({"__metadata__": {"format": "pt"}, **self._header}).encode()
        if len(header) > self._room:
            raise RuntimeError(f"{self._path()}: a tensor was saved that was not planned")
        self._file.seek(0)
        _write_all(self._file, self._room.to_bytes(8, "little") + header.ljust(self._room))
        self._file.close()
        self.weight_map |= dict.fromkeys(self._header, os.path.basename(self._path()))
        self.total_size += self.current_shard_size
        self.shards_written += 1
        self._file, self._header, self._waiting = None, {}, {}
        self._end = 0
        self.current_shard_size = 0

    def close(self) -> None:
        """End the thread, and let go of a file that was not finished."""
        self._thread.shutdown(cancel_futures=True)
        if self._file is not None:
            self._file.close()

    def _path(self) -> str:
        prefix, extension = self._get_name_components()
        return os.path.join(self.out_path, f"{prefix}-{self.shards_written + 1}.{extension}")


def _write_all(file: BinaryIO, content: bytes | memoryview) -> None:
    content = memoryview(content)
    while content:  # a write may stop half-way: at 2 GB, at the end of the disk
        content = content[file.write(content) :]


@functools.cache
def _name(dtype: torch.dtype) -> str:
    """safetensors' name of a dtype; its table of them is private."""
    saved = safetensors.torch.save({"": torch.empty(0, dtype=dtype)})
    length = int.from_bytes(saved[:8], "little")
    return json.loads(saved[8 : 8 + length])[""]["dtype"]


@contextmanager
def writing(out_path: str, names: Collection[str]) -> Iterator[None]:
    """Let mergekit's tasks write to `out_path`, whatever they were planned with, and at once.

    Pickles and `--async-write` are left to mergekit's own writer.
    """
    original = tasks.TensorWriter
    writers: list[StreamingWriter] = []

    def opened(_planned: str, **options: Any) -> TensorWriter:
        if options["safe_serialization"] and not options["use_async"]:
            size, name = options["max_shard_size"], options["override_basename"]
            writers.append(StreamingWriter(out_path, names, size, name))
            return writers[-1]
        return original(out_path, **options)

    tasks.TensorWriter = opened
    try:
        yield
    finally:
        tasks.TensorWriter = original
        for writer in writers:
            writer.close()
