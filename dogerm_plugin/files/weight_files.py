# SPDX-License-Identifier: Apache-2.0
"""Which files of a folder hold a model's weights: those that transformers would load.

The rule is `transformers.modeling_utils._get_resolved_checkpoint_files`, without a variant: the
file that config.json names (`transformers_weights`), else one safetensors file before its index,
and both before pickles. All tensors of all files that an index names are loaded, those too that it
does not name.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.json_file import read_object
from dogerm_plugin.files.plain_files import require_plain

LOG = logging.getLogger("dogerm")

# In the order in which transformers looks for them.
FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX = ".index.json"
# `save_pretrained(distributed_checkpoint=True)`; transformers looks for these before all others.
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".h5", ".msgpack")


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold a model's weights, and what names them.

    Attributes:
        shards: in the order in which transformers reads them.
        index: the file that names them; None for one file.
        weight_map: tensor → name of a shard, as the index has it; empty without one.
    """

    shards: tuple[Path, ...]
    index: Path | None = None
    weight_map: dict[str, str] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.shards, self.index) if self.index else self.shards


def find(folder: Path) -> WeightFiles | None:
    """The weights of a folder; None where it has none that transformers would load.

    Raises:
        MergeError: what stands in their place is no plain file; an index that names no files, or
            files elsewhere or that are missing; a form that only transformers' distributed loading
            reads; an adapter beside the model, which transformers would add to it.
    """
    for file in sorted(folder.glob("shard-*.safetensors")):
        if _DISTRIBUTED.fullmatch(file.name):
            raise MergeError(
                f"{file}: is a part of a distributed checkpoint, which transformers loads "
                "before any other weights of the folder, and a merge can't read: load it with "
                "transformers and save it again"
            )
    weights = check(folder)
    if weights is None:
        return None
    _refuse_adapter(folder, weights.all[-1])
    # Pickles beside safetensors are usual, and mergekit passes over them too.
    single = weights.shards[0]
    if weights.index is None and single.with_name(single.name + INDEX).is_file():
        LOG.warning("%s: taken, as by transformers; the index beside it is ignored", single)
    return weights


def check(folder: Path) -> WeightFiles | None:
    """Refuse weights that nothing can load: `find`, but for what only a merge can't have.

    Raises:
        MergeError: what stands in the weights' place is no plain file; an index that names no
            files, or files elsewhere or that are missing.
    """
    config = folder / "config.json"
    named = read_object(config).get("transformers_weights") if config.exists() else None
    names = (_inside(folder, config, named),) if named else FILES
    for name in names:
        file = folder / name
        require_plain(file)
        if not file.exists():
            continue
        return _from_index(file) if name.endswith(INDEX) else WeightFiles((file,))
    if named:
        raise MergeError(f"{config}: transformers_weights names {named}, which is not there")
    return None


def others(folder: Path) -> str:
    """What a folder without the model's weights has instead, for a message."""
    names = sorted(file.name for file in folder.glob("*") if file.suffix in _WEIGHTS)
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    if any(name.startswith("adapter_model") for name in names):
        return f" ({shown} is an adapter: write BASE+{folder})"
    return (
        f" (found {shown}, which transformers does not load by itself: load it with variant= or "
        "gguf_file=, or with what wrote it, and save it again)"
    )


def _from_index(index: Path) -> WeightFiles:
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise MergeError(
            f"{index}: has no weight_map from tensors to files, expected one; fetch it again"
        )
    for tensor, name in weight_map.items():
        if not isinstance(name, str):
            raise MergeError(f"{index}: weight_map gives {tensor} no file name but {name!r}")
    shards = []
    for name in sorted(set(weight_map.values())):
        shard = index.parent / _inside(index.parent, index, name)
        require_plain(shard)
        if not shard.exists():
            raise MergeError(f"{index}: the index names {name}, which is not in {index.parent}")
        shards.append(shard)
    return WeightFiles(tuple(shards), index, weight_map)


def _inside(folder: Path, by: Path, name: Any) -> str:
    """A file's name, held to stay in the folder; a link in it may lead anywhere, as the Hub's."""
    path = PurePosixPath(os.path.normpath(name)) if isinstance(name, str) and name else None
    if path is None or path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise MergeError(f"{by}: names the weight file {name!r}, expected one inside {folder}")
    return str(name)


def _refuse_adapter(folder: Path, weights: Path) -> None:
    adapter = folder / "adapter_config.json"
    if adapter.exists() and (folder / "config.json").exists():
        raise MergeError(
            f"{adapter}: an adapter lies beside the whole model {weights.name}, and transformers "
            "would add it to that: move the adapter's files to a folder of their own, and write "
            f"{folder}+THAT_FOLDER to have it merged in, or {folder} for the model without it"
        )
