"""Reads a written output back: every tensor there, finite, and the head equal to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files import head_files
from dogerm_plugin.methods.linear import all_finite


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
    for file, name, tensor in _read(folder):
        file_of[name] = file.name
        if tensor.is_floating_point() and not all_finite(tensor):
            raise MergeError(f"output tensor {name} has NaN or Inf")
        if name in head and not same_bits(tensor, head[name]):
            raise MergeError(f"the head {name} is not the reward model's to the bit")
    if set(file_of) != names:
        wrong = sorted(set(file_of) ^ names)
        raise MergeError(f"the output lacks or adds {len(wrong)} tensors: {wrong[:3]}")
    indices = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.index.json")]
    wanted = [file_of] if len(set(file_of.values())) > 1 else []
    if [index["weight_map"] for index in indices] != wanted:
        raise MergeError(f"{folder.name}: the index doesn't match the files beside it")


def _read(folder: Path) -> Iterator[tuple[Path, str, torch.Tensor]]:
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        if file.name in head_files.FILES:
            continue  # copied, and held against the reward model's by `merge`
        if file.suffix == ".bin":
            state = torch.load(file, weights_only=True, mmap=True)
            yield from ((file, name, tensor) for name, tensor in state.items())
            continue
        try:
            with safe_open(str(file), framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118
                    yield file, name, weights.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise MergeError(
                f"{file.name} was written badly ({error}): is the disk full?"
            ) from None


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal dtype, shape and bytes: NaNs and signed zeros too, unlike torch.equal."""
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(
            a.contiguous().view(-1).view(torch.uint8), b.contiguous().view(-1).view(torch.uint8)
        )
    )
