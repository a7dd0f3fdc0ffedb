"""Stands in for mergekit's `tests/common.py`, which its source archive leaves out.

The names and arguments are those that its tests import; the models are this project's own.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mergekit.architecture import get_architecture_info
from mergekit.io import LazyTensorLoader
from mergekit.merge import MergeOptions, run_merge
from transformers import (
    AutoConfig,
    CLIPVisionConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
)

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}


def _saved(model: PreTrainedModel, folder: object) -> str:
    model.save_pretrained(str(folder), safe_serialization=True)
    return str(folder)


def make_picollama(path: object, vocab_size: int = 64) -> str:
    return _saved(LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **SIZES)), path)


def make_picogranite(path: object, vocab_size: int = 64) -> str:
    return _saved(GraniteForCausalLM(GraniteConfig(vocab_size=vocab_size, **SIZES)), path)


def make_gpt2size(path: object, vocab_size: int = 64) -> str:
    """As many layers as GPT-2, which the tests count."""
    config = GPT2Config(n_ctx=128, n_embd=32, n_head=4, n_layer=12, vocab_size=vocab_size)
    return _saved(GPT2LMHeadModel(config), path)


def make_picoLlaVa(path: object) -> str:
    vision = CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=32, **SIZES)
    text = LlamaConfig(vocab_size=64, **SIZES)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=32)
    return _saved(LlavaForConditionalGeneration(config), path)


def run_and_check_merge(
    config: Any,
    check_nan: bool = True,
    check_tensors: bool = True,
    validate: Callable[[str], None] | None = None,
    index_json_name: str | None = None,
    auto_arch: bool = False,
) -> None:
    """Merge, and look for NaN, for tensors that the architecture has and the output lacks."""
    with tempfile.TemporaryDirectory() as folder:
        run_merge(config, out_path=folder, options=MergeOptions())
        index = index_json_name or "model.safetensors.index.json"
        assert any((Path(folder) / name).exists() for name in (index, "model.safetensors"))
        loader = LazyTensorLoader.from_disk(folder)
        if check_nan:
            for name in loader.index.tensor_paths:
                assert not torch.isnan(loader.get_tensor(name)).any(), name
        if check_tensors and not auto_arch:
            written = AutoConfig.from_pretrained(folder)
            weights = get_architecture_info(config, MergeOptions()).all_weights(written)
            lacking = [w.name for w in weights if w.name not in loader.index.tensor_paths]
            tied = {name for w in weights for name in (w.tied_names or ())}
            optional = {w.name for w in weights if w.optional}
            assert not set(lacking) - optional - tied, lacking
        if validate:
            validate(folder)
