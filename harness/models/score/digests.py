# SPDX-License-Identifier: Apache-2.0
"""Short digests of what a score depends on: weights, configs, tokenizer, code."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.runs import identity

# Where a config or a tokenizer came from, and what saved it: no score depends on these.
_ORIGIN = ("_name_or_path", "name_or_path", "transformers_version", "base_model_name_or_path")

_SAME_SIZE_INT = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_CHUNK = 1 << 20

# The package into which transformers puts a checkpoint's own code.
_REMOTE_CODE = "transformers_modules"


def of_config(config: Any) -> str:
    """The digest of a transformers config, wherever it was read from."""
    return identity.digest(_without_origin(json.loads(config.to_json_string())))


def _without_origin(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_origin(one) for key, one in value.items() if key not in _ORIGIN}
    return value


def of_adapters(model: nn.Module) -> str:
    """The digest of all PEFT configs of a model (``lora_alpha`` is nowhere in the weights)."""
    configs = getattr(model, "peft_config", None)
    if not isinstance(configs, dict):
        return "none"
    return identity.digest({name: _without_origin(one.to_dict()) for name, one in configs.items()})


def of_adapter(model: nn.Module, name: str) -> str:
    """The digest of one adapter of a PEFT model: its config, and its tensors by the base's names.

    Args:
        model: PEFT's.
        name: what PEFT calls the adapter; it is not part of the digest.
    """
    config: Any = getattr(model, "peft_config", {})[name]
    tensors = [[path, of_tensor(tensor)] for path, tensor in adapter_tensors(model, name)]
    return identity.digest([_without_origin(config.to_dict()), tensors])


def adapter_tensors(model: nn.Module, name: str) -> list[tuple[str, torch.Tensor]]:
    """The parameters of one adapter of a PEFT model, by their names without its own."""
    part = f".{name}"
    return [
        (path.replace(part, ""), tensor)
        for path, tensor in model.named_parameters()
        if f"{part}." in path or path.endswith(part)
    ]


def of_tokenizer(tokenizer: Any) -> str:
    """The digest of what turns text into ids: the whole pipeline, and the special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        pipeline = json.loads(backend.to_str())
        for passing in ("truncation", "padding"):  # set by each call
            pipeline.pop(passing, None)
    else:
        pipeline = {
            "vocabulary": tokenizer.get_vocab(),
            "merges": [str(pair) for pair in getattr(tokenizer, "bpe_ranks", ())],
            "settings": _without_origin(getattr(tokenizer, "init_kwargs", {})),
        }
    special = {
        name: getattr(tokenizer, name, None)
        for name in ("special_tokens_map", "add_bos_token", "add_eos_token")
    }
    return identity.digest([pipeline, special, of_code(tokenizer)])


def of_code(loaded: Any) -> str:
    """The digest of the code that came with a checkpoint; ``none`` for classes of a package."""
    digest = hashlib.sha256()
    folders = {
        Path(str(getattr(sys.modules.get(kind.__module__), "__file__", ""))).parent
        for kind in type(loaded).__mro__
        if kind.__module__.partition(".")[0] == _REMOTE_CODE
    }
    for file in sorted(file for folder in folders for file in folder.glob("*.py")):
        digest.update(file.name.encode() + b" " + file.read_bytes())
    return digest.hexdigest()[:16] if folders else "none"


def of_weights(model: nn.Module) -> str:
    """A digest that changes when any parameter or buffer does (one pass over the weights).

    Each tensor enters by name, shape, dtype, and, per chunk, the sum of its elements' bits, each
    times a number that depends on its place: rows that change places change it too.
    """
    digest = hashlib.sha256()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(_sums(tensor))
    return digest.hexdigest()[:16]


def of_tensor(tensor: torch.Tensor) -> str:
    """The digest of one tensor, as it enters that of all weights."""
    form = f"{tuple(tensor.shape)} {tensor.dtype} ".encode()
    return hashlib.sha256(form + _sums(tensor)).hexdigest()[:16]


def bits_of(tensor: torch.Tensor) -> int:
    """The sum of a tensor's 64-bit words: tells at once whether it has changed in place."""
    if tensor.is_meta or tensor.numel() == 0:
        return 0
    flat = tensor.detach().reshape(-1).view(torch.uint8)
    if flat.storage_offset() % 8:
        flat = flat.clone()
    whole = flat.numel() // 8 * 8
    words = flat[:whole].view(torch.int64).sum()
    return int(words) + int(flat[whole:].sum())


def _sums(tensor: torch.Tensor) -> bytes:
    """Per chunk, the sum of the elements' bits; nothing of a tensor that is not here."""
    if tensor.is_meta or tensor.numel() == 0:
        return b""
    flat = tensor.detach().reshape(-1)
    bits = flat.view(_SAME_SIZE_INT[flat.element_size()])
    pattern = _pattern(bits.device)
    sums = [(part * pattern[: part.numel()]).sum() for part in bits.split(_CHUNK)]
    return torch.stack(sums).cpu().numpy().tobytes()


@functools.cache
def _pattern(device: torch.device) -> torch.Tensor:
    """One odd 64-bit number per place of a chunk, without order (products wrap around)."""
    place = torch.arange(1, _CHUNK + 1)
    mixed = place * 0x1E3779B97F4A7C15
    return ((mixed ^ (mixed >> 29)) * 0x3F58476D1CE4E5B9 | 1).to(device)
