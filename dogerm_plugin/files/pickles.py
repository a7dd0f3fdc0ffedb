# SPDX-License-Identifier: Apache-2.0
"""Reads pytorch_model*.bin tensor by tensor, mapped where it can be; hostile ones not at all."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from mergekit.io.lazy_tensor_loader import LazyTensorLoader, ShardedTensorIndex
from mergekit.io.loader import DumbPytorchLoader

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.plain_files import Stamps

_REFUSED = re.compile(r"Unsupported (?:global: GLOBAL|class|operand) (\S+)")


def read_state(file: Path, **options: Any) -> dict[str, torch.Tensor]:
    """The tensors of a pickled checkpoint.

    Args:
        file: the checkpoint.
        options: further ones of `torch.load`.

    Raises:
        MergeError: it is damaged, holds more than tensors, or code.
    """
    try:
        state = torch.load(file, weights_only=True, **options)
    except Exception as error:  # torch raises a dozen types for a damaged pickle
        raise MergeError(explain(file, error)) from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise MergeError(
            f"{file}: holds {type(state).__name__}, expected tensors by name (a state_dict)"
        )
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise MergeError(
                f"{file}: holds {type(tensor).__name__} under {name!r}, expected tensors by name"
            )
    return state


def explain(file: Path, error: Exception) -> str:
    """What to say of a pickle that `torch.load` refused.

    Not torch's own words: they advise `weights_only=False`, which runs what the file holds.
    """
    match = _REFUSED.search(str(error))
    if match or "weights_only" in str(error):
        what = f" ({match[1].rstrip('.,')})" if match else ""
        return (
            f"{file}: holds more than tensors{what}, and that may be code: it is not loaded; where "
            "you trust its source, convert it to safetensors, or take a safetensors version"
        )
    text = str(error).strip().split("\n")[0] or type(error).__name__
    return f"{file}: not a readable PyTorch checkpoint, or truncated ({text}); fetch it again"


class MappedPickles(LazyTensorLoader):
    """mergekit's loader of a checkpoint, but for how a pickle is opened.

    mergekit reads the file whole, and again after any tensor of another file; its lazy unpickler
    does not know all that `torch.load` does.

    A file's state is looked at before each tensor, which then is copied out of the map at once: one
    that is cut short during that copy still ends the process, as it does any that maps a file.

    Args:
        index: see `LazyTensorLoader`.
        stamps: the files' state when the index was made; another state is refused.
    """

    current_shard: Any

    def __init__(self, index: ShardedTensorIndex, stamps: Stamps) -> None:
        super().__init__(index)
        self._stamps = stamps

    def get_tensor(
        self,
        key: str,
        device: str = "cpu",
        aliases: list[str] | None = None,
        raise_on_missing: bool = True,
    ) -> torch.Tensor | None:
        """See `LazyTensorLoader.get_tensor`.

        Raises:
            MergeError: the file changed since the index was made.
        """
        name = self.index.tensor_paths.get(key)
        mapped = False
        if name is not None:
            file = Path(self.index.base_path, name)
            self._stamps.check_one(file, os.stat(file))
            with self.lock:
                opened = self.current_shard.keys() if self.current_shard else ()
                if key not in opened:
                    self.current_shard = None  # before the next one is opened
                    self.current_shard = _Opened(file)
                mapped = self.current_shard.mapped
        tensor = super().get_tensor(key, device, aliases, raise_on_missing)
        return tensor.clone() if mapped else tensor

    def flush(self) -> None:
        """Let go of the file, unless it would be read whole again."""
        if self.current_shard and self.current_shard.mapped:
            super().flush()


class _Opened(DumbPytorchLoader):
    def __init__(self, file: Path) -> None:
        # Only the form that torch writes since 1.6, a zip archive, can be mapped.
        self.mapped = zipfile.is_zipfile(file)
        self.tensors = read_state(file, map_location="cpu", mmap=self.mapped)
