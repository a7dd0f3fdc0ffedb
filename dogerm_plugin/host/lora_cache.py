# SPDX-License-Identifier: Apache-2.0
"""A recipe's `MODEL+ADAPTER` as a folder with the two made one model.

mergekit 0.1.5 makes it a language model whatever the adapter is, so that a reward adapter's head is
lost, takes the base model's tokenizer, and finds it again by the two names alone: an adapter that
was trained on since is not. Retired when `ModelReference.merged` does these three.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mergekit.common import ModelPath, ModelReference, dtype_from_name
from mergekit.options import MergeOptions

from dogerm_plugin.anatomy import adapted_model, adapter
from dogerm_plugin.errors import MergeError
from dogerm_plugin.files import head_files, weight_files
from dogerm_plugin.files.atomic import staging
from dogerm_plugin.files.locks import lock_of
from dogerm_plugin.files.model_files import holds_tokenizer
from dogerm_plugin.recipe import configuration
from dogerm_plugin.recipe.entries import entries

LOG = logging.getLogger("dogerm")

# Of what is written; another number where the same inputs would give something else.
FORM = 1


def adapters_merged(
    config: configuration.OrderedConfiguration, options: MergeOptions
) -> configuration.OrderedConfiguration:
    """A recipe that names each `MODEL+ADAPTER` by the folder with the two made one.

    Args:
        config: a recipe; is not changed.
        options: mergekit's: `lora_merge_cache` is where the folders are, `lora_merge_dtype` what
            the body is stored in (the base model's own dtype without it).

    Raises:
        MergeError: no such cache, or an adapter that is none, or does not fit; see
            `adapted_model.merged`.
    """
    folders = {
        model: adapter_merged(model, options) for model in config.referenced_models() if model.lora
    }
    if not folders:
        return config
    made = config.model_copy(deep=True)
    made.base_model = folders.get(made.base_model, made.base_model)
    for entry in entries(made):
        entry.model = folders.get(entry.model, entry.model)
    return made


def adapter_merged(model: ModelReference, options: MergeOptions) -> ModelReference:
    """One `MODEL+ADAPTER` as the folder with the two made one; errors as in `adapters_merged`."""
    return ModelReference(
        model=ModelPath(path=str(_folder(model, options))),
        override_architecture=model.override_architecture,
    )


def _folder(model: ModelReference, options: MergeOptions) -> Path:
    """The folder of one model, made if it is not there."""
    assert model.lora is not None
    if not options.lora_merge_cache:
        raise MergeError(
            f"{model}: add --lora-merge-cache DIR, where the model with its adapter merged is "
            "written"
        )
    lora = adapter.read(model.lora.path, model.lora.revision)
    names = [os.path.basename(os.path.normpath(part.path)) for part in (model.model, model.lora)]
    identity = _identity(model, lora, options)
    cache = Path(options.lora_merge_cache).expanduser()
    folder = cache / f"{names[0]}+{names[1]}-{identity}".replace("/", "_")
    if folder.is_dir() and weight_files.find(folder) is not None:
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # its weights were cleaned away
    LOG.info("%s: merging the adapter into its base model, once", model)
    with ExitStack() as stack:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            _clean_up(cache, f".{folder.name}.")
            work = stack.enter_context(staging(cache, f".{folder.name}."))
            lock = lock_of(work)
        except OSError as error:
            raise MergeError(f"--lora-merge-cache {cache}: can't be written ({error})") from None
        if lock is not None:
            stack.callback(os.close, lock)
        _write(work, model, lora, options)
        if _identity(model, lora, options) != identity:
            raise MergeError(f"{model}: a file of it changed while the adapter was merged: again")
        try:
            work.rename(folder)
        except OSError:  # another merge has made it meanwhile
            if not folder.is_dir():
                raise
    return folder


def _clean_up(cache: Path, prefix: str) -> None:
    """Remove what killed merges of the same adapter left half-made."""
    for left in cache.iterdir():
        if left.name.startswith(prefix) and (lock := lock_of(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _write(
    folder: Path, model: ModelReference, lora: adapter.Adapter, options: MergeOptions
) -> None:
    where: dict[str, Any] = {
        "revision": model.model.revision,
        "trust_remote_code": options.trust_remote_code,
    }
    try:
        tokenizer = adapted_model.tokens(model.model.path, lora, **where)
    except Exception as error:  # tokenizers raises bare ones
        if lora.has_tokenizer or holds_tokenizer(Path(model.model.path)):
            raise MergeError(
                f"{model}: its tokenizer can't be loaded ({error}): fetch its files again"
            ) from None
        tokenizer = None  # a merge without a tokenizer is told of later, where it matters
    dtype = dtype_from_name(options.lora_merge_dtype) or "auto"
    whole = adapted_model.merged(model.model.path, lora, dtype=dtype, tokenizer=tokenizer, **where)
    whole.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    # LLaMA-Factory's, beside the adapter or beside its base model
    for file in head_files.find([lora.folder, Path(model.model.path)]):
        shutil.copyfile(file, folder / file.name)


def _identity(model: ModelReference, lora: adapter.Adapter, options: MergeOptions) -> str:
    """A digest of what the folder is made of: names, files, dtype."""
    parts: list[Any] = [FORM, str(model), options.lora_merge_dtype]
    for folder in (Path(model.model.path), lora.folder):
        if folder.is_dir():
            parts += [str(folder.resolve()), *_files(folder)]
        else:  # on the Hub: the commit that the name stands for today
            config = model.config(options.trust_remote_code)
            parts.append(getattr(config, "_commit_hash", None))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _files(folder: Path) -> list[tuple[str, int, int]]:
    stats = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
