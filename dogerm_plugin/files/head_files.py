# SPDX-License-Identifier: Apache-2.0
"""Heads that a trainer keeps in a file of their own, beside the model's weights.

LLaMA-Factory and ms-swift save a reward model as a plain language model, and TRL's value head
(`v_head.summary.weight`, `.bias`) in `value_head.safetensors`, or `.bin` without safetensors. No
index names that file, and transformers doesn't read it: a merge copies it as it is, and scoring
puts it onto the body.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dogerm_plugin.errors import MergeError

FILES = ("value_head.safetensors", "value_head.bin")


@dataclass(frozen=True)
class HeadFiles:
    """What stands beside a model: the files, each tensor by name, and the file it was read of."""

    files: tuple[Path, ...] = ()
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    where: dict[str, Path] = field(default_factory=dict)


def find(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The head files of the first folder that has any."""
    for folder in folders:
        if files := tuple(folder / name for name in FILES if (folder / name).is_file()):
            return files
    return ()


def read(files: Iterable[Path]) -> HeadFiles:
    """All tensors of head files; they are small.

    A name without a dot (`weight`) is told apart as `value_head.weight`.

    Raises:
        MergeError: a file that can't be read, or one tensor with two values.
    """
    files = tuple(files)
    tensors: dict[str, torch.Tensor] = {}
    where: dict[str, Path] = {}
    for file in files:
        for short, tensor in _tensors(file).items():
            name = short if "." in short else f"value_head.{short}"
            if name in tensors:
                refuse_two_values(name, (tensors[name], where[name]), (tensor, file))
                continue
            tensors[name], where[name] = tensor, file
    return HeadFiles(files, tensors, where)


def refuse_two_values(
    name: str, first: tuple[torch.Tensor, Path], second: tuple[torch.Tensor, Path]
) -> None:
    """Refuse a tensor that stands in two files with two values: nothing says which one counts.

    Raises:
        MergeError: the shapes or numbers differ; dtypes may.
    """
    (a, one), (b, other) = first, second
    if a.shape == b.shape and torch.equal(a.double(), b.double()):
        return
    raise MergeError(
        f"{one}: tensor {name} {list(a.shape)} has another value in {other.name} {list(b.shape)}, "
        "and nothing says which of the two is the head: remove one"
    )


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {str(name): tensor.detach() for name, tensor in state.items()}
    except Exception as error:  # safetensors, pickle and zip readers each raise their own
        raise MergeError(
            f"{file}: the head beside the model can't be read ({error}); fetch the file again, or "
            "remove it if it is no part of this model"
        ) from None
