"""What a checkpoint holds, read from its headers: names, shapes, dtypes, files. No weights."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mergekit.common import ModelReference
from mergekit.io.lazy_tensor_loader import LazyTensorLoader, ShardedTensorIndex, ShardInfo
from mergekit.options import MergeOptions
from safetensors import SafetensorError, safe_open

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files import pickles, plain_files, weight_files
from dogerm_plugin.files.pickles import MappedPickles
from dogerm_plugin.files.plain_files import Stamps
from dogerm_plugin.files.shards import DTYPES, Shards, StoredTensor, read_header
from dogerm_plugin.files.weight_files import WeightFiles

PLAIN = ("bfloat16", "float16", "float32", "float64")  # those that can be interpolated


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint: its shape, its dtype by torch's name, and its file."""

    shape: tuple[int, ...]
    dtype: str
    file: Path

    @property
    def floating(self) -> bool:
        """Whether it holds numbers of a model (float8, F8_E4M3 too), not counters or masks."""
        return self.dtype in PLAIN or self.dtype.startswith(("float8", "F8"))


@dataclass(frozen=True)
class Checkpoint:
    """An input model on disk: its config, its files, and what their headers say.

    Attributes:
        model: as the recipe names it.
        folder: where the weights lie.
        tensors: every tensor by its name on disk.
        loader: reads them.
        stamps: the state of all files that the model is read from, before anything was.
    """

    model: ModelReference
    folder: Path
    tensors: dict[str, Tensor]
    loader: LazyTensorLoader
    stamps: Stamps = field(default_factory=Stamps)


def open_checkpoint(model: ModelReference, options: MergeOptions) -> Checkpoint:
    """Find a model (folder or Hub id) and read its headers; no adapter (`lora_cache`).

    Raises:
        MergeError: no weights there, or what stands in their place or a config's is no plain file;
            a damaged file; a shard that the index names is missing, or lacks a tensor; a tensor
            with two values.
    """
    path = model.model.path
    if not Path(path).exists() and (path.startswith(("/", ".", "~")) or path.count("/") != 1):
        raise MergeError(f"{model}: no such folder, and not a Hub id (owner/name)")
    plain_files.require_plain_settings(Path(path))
    folder = Path(model.local_path(cache_dir=options.transformers_cache))
    plain_files.require_plain_settings(folder)
    weights = weight_files.find(folder)
    if weights is None:
        raise MergeError(
            f"{model}: no model.safetensors or pytorch_model.bin (or their index) in "
            f"{folder}{weight_files.others(folder)}"
        )
    settings = {file for place in (Path(path), folder) for file in _settings(place)}
    stamps = Stamps.of([*weights.all, *sorted(settings)])
    tensors, loader = _read(folder, weights, stamps, options)
    return Checkpoint(model, folder, tensors, loader, stamps)


def _settings(folder: Path) -> list[Path]:
    return [folder / name for name in plain_files.SETTINGS]


def _read(
    folder: Path, weights: WeightFiles, stamps: Stamps, options: MergeOptions
) -> tuple[dict[str, Tensor], LazyTensorLoader]:
    """All tensors of a model's files, and what reads them."""
    kinds = {file.suffix == ".safetensors" for file in weights.shards}
    if len(kinds) > 1:
        raise MergeError(
            f"{weights.index}: names safetensors files and others; save the model again"
        )
    tensors: dict[str, Tensor] = {}
    stored: dict[str, StoredTensor] = {}
    holders: dict[str, list[Path]] = defaultdict(list)
    for file in weights.shards:
        if file.suffix == ".safetensors":
            header = _read_header(file)
            here = {name: _described(one) for name, one in header.items()}
            stored |= header
        else:
            here = _read_pickle(file)
        tensors |= here  # as in transformers, where the last file that has a tensor wins
        for name in here:
            holders[name].append(file)
    for name, shard in weights.weight_map.items():
        if folder / shard not in holders.get(name, ()):
            where = f" ({holders[name][0].name} has it)" if name in holders else ""
            raise MergeError(
                f"{folder / shard}: lacks tensor {name}, which the index names{where}: the index "
                "is another checkpoint's; fetch both again"
            )
    twice = {name: files for name, files in holders.items() if len(files) > 1}
    _require_one_value(twice)
    index = _index(folder, tensors, kinds == {True})
    if kinds == {True}:
        return tensors, Shards(index, stored, stamps)
    if options.lazy_unpickle:
        return tensors, LazyTensorLoader(index, lazy_unpickle=True)
    return tensors, MappedPickles(index, stamps)


def _index(folder: Path, tensors: dict[str, Tensor], is_safetensors: bool) -> ShardedTensorIndex:
    """The files in mergekit's terms."""
    place = {name: str(tensor.file.relative_to(folder)) for name, tensor in tensors.items()}
    names: dict[str, list[str]] = defaultdict(list)
    for name, file in place.items():
        names[file].append(name)
    shards = [ShardInfo(file, names[file]) for file in sorted(names)]
    return ShardedTensorIndex(str(folder), is_safetensors, place, shards)


def _require_one_value(twice: dict[str, list[Path]]) -> None:
    """Refuse a tensor that stands in two files with two values.

    Which one counts depends on who reads it: transformers takes the last file's, mergekit the
    index's.
    """
    for name, files in twice.items():
        values = [_value(name, file) for file in files]
        for other, file in zip(values[1:], files[1:], strict=True):
            same = values[0].shape == other.shape and values[0].dtype == other.dtype
            if not same or not torch.equal(_bits(values[0]), _bits(other)):
                raise MergeError(
                    f"{file}: tensor {name} has another value in {files[0].name}, and only one of "
                    "them can be the model's; fetch the checkpoint again, or remove one"
                )


def _value(name: str, file: Path) -> torch.Tensor:
    if file.suffix == ".safetensors":
        with safe_open(str(file), framework="pt") as weights:
            return weights.get_tensor(name)
    return pickles.read_state(file, map_location="cpu")[name].detach()


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _described(one: StoredTensor) -> Tensor:
    dtype = DTYPES.get(one.dtype)
    name = str(dtype).removeprefix("torch.") if dtype is not None else one.dtype
    return Tensor(one.shape, name, one.file)


def _read_header(file: Path) -> dict[str, StoredTensor]:
    try:
        return read_header(file)
    except (SafetensorError, OSError) as error:
        raise MergeError(
            f"{file}: truncated or not a safetensors file ({error}); fetch it again"
        ) from None


def _read_pickle(file: Path) -> dict[str, Tensor]:
    return {
        name: Tensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), file)
        for name, tensor in pickles.read_state(file, map_location="meta").items()
    }
