# SPDX-License-Identifier: Apache-2.0
"""Llama models of random bfloat16 numbers, near each other as fine-tunes of one base are."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

SHAPES = {  # hidden size, intermediate size, layers, heads, key-value heads, vocabulary
    "0.135B": (576, 1536, 30, 9, 3, 49152),
    "0.5B": (1024, 4096, 26, 16, 4, 32000),
    "1.1B": (2048, 5632, 22, 32, 4, 32000),
    "3B": (3072, 8192, 28, 24, 8, 128256),
}
SHARD = 5 * 10**9  # bytes of a file at most, transformers' default until its fifth release


def synthetic(folder: Path, size: str, seed: int, reward: bool = False) -> Path:
    """A Llama with bfloat16 weights, a random base and noise of its own; without a tokenizer."""
    hidden, intermediate, layers, heads, groups, rows = SHAPES[size]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=rows,
        tie_word_embeddings=not reward,
        dtype="bfloat16",
    )
    config.num_labels = 1
    kind = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    config.architectures = [type(model).__name__]
    base = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02
    own = torch.randn(1 << 20, generator=torch.Generator().manual_seed(1 + seed)) * 0.001
    noise = (base + own).bfloat16()
    parameters = {name: one.bfloat16() for name, one in model.named_parameters()}
    numbers = {name: number for number, name in enumerate(parameters)}
    split = split_torch_state_dict_into_shards(
        parameters, filename_pattern="model{suffix}.safetensors", max_shard_size=SHARD
    )
    folder.mkdir(parents=True)
    for file, names in split.filename_to_tensors.items():
        state = {}
        for name in names:
            # shifted noise: quicker than fresh one, and no tensor equals another model's
            shape = parameters[name].shape
            repeated = noise.roll(numbers[name]).repeat(math.ceil(shape.numel() / len(noise)))
            state[name] = repeated[: shape.numel()].view(shape).clone()
        save_file(state, folder / file, metadata={"format": "pt"})
        del state
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config.save_pretrained(folder)
    return folder


def as_language_model(reward: Path, like: Path, folder: Path) -> Path:
    """The reward model's files under a language model's config: mergekit passes the head over."""
    folder.mkdir()
    for file in reward.glob("model*"):
        os.link(file, folder / file.name)
    shutil.copy2(like / "config.json", folder)
    return folder


def weights(folder: Path) -> list[Path]:
    """A model's safetensors files."""
    return sorted(folder.glob("*.safetensors"))
