# SPDX-License-Identifier: Apache-2.0
"""Reads model*.safetensors tensor by tensor."""

from __future__ import annotations

import os
from typing import Any

import torch
from mergekit.io.lazy_tensor_loader import LazyTensorLoader, ShardedTensorIndex
from mergekit.io.loader import TensorLoader


class Shards(LazyTensorLoader):
    """mergekit's loader of a checkpoint, but for how it tells whether the right file is open.

    mergekit asks the open file for all its names before each tensor: time in the square of the
    number of tensors.
    """

    current_shard: Any

    def __init__(self, index: ShardedTensorIndex) -> None:
        super().__init__(index)
        self._file = ""  # that `current_shard` has open

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """See `LazyTensorLoader.get_tensor`."""
        file = self.index.tensor_paths.get(key)
        if file is None:  # an alias, or nothing; what is opened for it is not `_file`
            self.flush()
            self._file = ""
            return super().get_tensor(key, device, aliases, raise_on_missing)
        with self.lock:
            if self.current_shard is None or file != self._file:
                self.current_shard = None  # before the next one is opened
                path = os.path.join(self.index.base_path, file)
                self.current_shard = TensorLoader.get(path, device=device)
                self._file = file
            return self.current_shard.get_tensor(key).to(device)
