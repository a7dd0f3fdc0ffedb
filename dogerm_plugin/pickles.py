"""Reads pytorch_model*.bin tensor by tensor, mapped, as safetensors files are."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import torch
from mergekit.io.lazy_tensor_loader import LazyTensorLoader
from mergekit.io.loader import DumbPytorchLoader


class MappedPickles(LazyTensorLoader):
    """mergekit's loader of a checkpoint, but for how a pickle is opened.

    mergekit reads the file whole, and again after any tensor of another file; its lazy unpickler
    does not know all that `torch.load` does.
    """

    current_shard: Any

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """See `LazyTensorLoader.get_tensor`."""
        file = self.index.tensor_paths.get(key)
        with self.lock:
            opened = self.current_shard.keys() if self.current_shard else ()
            if file and key not in opened:
                self.current_shard = None  # before the next one is opened
                self.current_shard = _Opened(os.path.join(self.index.base_path, file))
        return super().get_tensor(key, device, aliases, raise_on_missing)

    def flush(self) -> None:
        """Let go of the file, unless it would be read whole again."""
        if self.current_shard and self.current_shard.mapped:
            super().flush()


class _Opened(DumbPytorchLoader):
    def __init__(self, path: str) -> None:
        # Only the form that torch writes since 1.6, a zip archive, can be mapped.
        self.mapped = zipfile.is_zipfile(path)
        self.tensors = torch.load(path, map_location="cpu", mmap=self.mapped, weights_only=True)
