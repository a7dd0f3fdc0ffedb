# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of what a checkpoint stores, from its headers; no weight is read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogerm_plugin.anatomy.head_layers import Shape

if TYPE_CHECKING:
    from dogerm_plugin.files.head_files import HeadFiles

# In the order in which transformers looks for them.
FILES = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

# Arguments of from_pretrained that say where the files are.
WHERE = ("revision", "subfolder", "cache_dir", "token", "local_files_only")


def stored_shapes(pretrained: str, **options: Any) -> dict[str, Shape] | None:
    """Every tensor's name on disk and its shape.

    Args:
        pretrained: a folder or Hub id; files of the latter are fetched, as loading would.
        options: the arguments of ``from_pretrained``.

    Returns:
        None where there is nothing plain to read (GGUF, an adapter's folder, a variant, damaged
        files): loading then says what is wrong.
    """
    from transformers.modeling_utils import load_state_dict

    if options.get("gguf_file") or options.get("variant"):
        return None
    shapes: dict[str, Shape] = {}
    try:
        found = shards(pretrained, options)
        for shard in found:
            state = load_state_dict(shard, map_location="meta")
            shapes.update((key, tuple(tensor.shape)) for key, tensor in state.items())
    except Exception:  # out of reach or damaged, in a dozen ways: loading says so
        return None
    return shapes if found else None


def beside(
    pretrained: str, stored: Mapping[str, Shape], adapter: Path | None = None, **options: Any
) -> HeadFiles:
    """A head that a trainer keeps in a file of its own (`dogerm_plugin.files.head_files`).

    Args:
        pretrained: a folder or Hub id.
        adapter: the folder of an adapter; a head there comes before one beside the model.
        stored: what the checkpoint itself stores, as `stored_shapes` gives it.
        options: the arguments of ``from_pretrained``.

    Raises:
        HarnessError: a file that can't be read, or a tensor that the checkpoint stores otherwise.
    """
    from transformers.utils import cached_file

    from dogerm_plugin.errors import MergeError
    from dogerm_plugin.files.head_files import FILES as HEADS
    from dogerm_plugin.files.head_files import find, read, refuse_two_values
    from harness.errors import HarnessError

    where = {key: options[key] for key in WHERE if options.get(key)}
    try:
        files: list[str | None] = [str(file) for file in find([adapter] if adapter else [])] or [
            cached_file(pretrained, name, _raise_exceptions_for_missing_entries=False, **where)
            for name in HEADS
        ]
    except OSError:  # out of reach: what loads the checkpoint says so
        files = []
    try:
        heads = read([Path(file) for file in files if file])
        twice = heads.tensors.keys() & stored.keys()
        for name, tensor in tensors(pretrained, twice, options).items():
            inside = tensor, heads.where[name].with_name("the checkpoint's weights")
            refuse_two_values(name, (heads.tensors[name], heads.where[name]), inside)
    except MergeError as error:
        raise HarnessError(str(error)) from None
    return heads


def tensors(pretrained: str, names: Collection[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of these names, from the file that `stored_shapes` reads.

    Args:
        pretrained: a folder or Hub id.
        names: names on disk; those that are not stored are left out.
        options: the arguments of ``from_pretrained``.
    """
    import torch
    from safetensors import safe_open

    by_name: dict[str, Any] = {}
    for shard in shards(pretrained, options) if names else ():
        if shard.endswith(".safetensors"):
            with safe_open(shard, framework="pt") as held:
                here = set(held.keys()).intersection(names)
                by_name |= {key: held.get_tensor(key) for key in here}
        else:
            state = torch.load(shard, map_location="cpu", weights_only=True)
            by_name |= {key: value.clone() for key, value in state.items() if key in names}
    return by_name


def shards(pretrained: str, options: Mapping[str, Any]) -> list[str]:
    """The files that hold a checkpoint's weights, as transformers finds them; none where it can't.

    Args:
        pretrained: a folder or Hub id.
        options: the arguments of ``from_pretrained``.
    """
    from transformers.utils import cached_file

    where = {key: options[key] for key in WHERE if options.get(key)}
    for name in (*FILES, *PICKLES):
        file = cached_file(pretrained, name, _raise_exceptions_for_missing_entries=False, **where)
        if file is not None and file.endswith(".index.json"):
            index = json.loads(Path(file).read_text("utf-8"))["weight_map"]
            return [str(cached_file(pretrained, one, **where)) for one in sorted({*index.values()})]
        if file is not None:
            return [str(file)]
    return []
