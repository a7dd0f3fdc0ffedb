"""Tiny models of any decoder type, for real merges in a second.

All are fine-tunes of one imaginary pretrained base, as the models of a merge must be: tensors of
one name (and one place in the vocabulary) are equal but for a small noise of the model's own.
"""

import functools
import inspect
import re
import zlib
from pathlib import Path

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

# The same word for a size in the configs of all model types; those that a config lacks are left.
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "word_embed_proj_dim": 32,
    "ffn_dim": 48,
    "n_inner": 48,
    "dff": 48,
    # experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "n_group": 2,
    "topk_group": 1,
    "n_shared_experts": 1,
    "num_shared_expert": 1,
    "first_k_dense_replace": 1,
    # latent attention
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "attention_head_dim": 16,
    # state-space and linear attention
    "mamba_d_state": 8,
    "mamba_d_head": 16,
    "mamba_dt_rank": 4,
    "n_mamba_heads": 2,
    "mamba_headdim": 16,
    "mamba_ngroups": 1,
    "linear_num_heads": 4,
    "linear_head_dim": 8,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "kv_channels": 8,
    "sliding_window": 16,
}
# What a type needs besides: its layers are not all alike, or its sizes depend on each other.
SPECIAL = {
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "zamba": {"layers_block_type": ["mamba", "hybrid"] * 2, "attention_hidden_size": 64},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"] * 2, "n_mamba_heads": 4},
    "minimax": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4},
    "ctrl": {"n_embd": 32, "n_layer": 4, "n_head": 4},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    },
    "gptj": {"rotary_dim": 4},
    "gpt_oss": {"layer_types": ["sliding_attention", "full_attention"] * 2},
}
# Of a fine-tuned weight, where weights are about 0.02: a cosine of .99 to the base.
NOISE = 0.002


@functools.cache
def decoder_types() -> list[str]:
    """Every model type that has a causal LM and a sequence classifier that pools one token."""
    found = []
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        classifier = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.get(name)
        if classifier is None:
            continue
        cls = getattr(transformers, classifier)
        generic = any(c.__name__ == "GenericForSequenceClassification" for c in cls.__mro__)
        if generic or "pad_token_id" in inspect.getsource(cls.forward):
            found.append(name)
    return sorted(found)


def tiny_config(model_type: str, **changes: object) -> PreTrainedConfig:
    """A config of a few thousand parameters."""
    default = AutoConfig.for_model(model_type)
    nested = {}
    for key in ("text_config", "vision_config"):
        inner = getattr(default, key, None)
        if inner is not None:
            nested[key] = _tiny(inner, key == "vision_config")
    return type(default)(**(_tiny(default, False) | nested | changes))


def _tiny(default: PreTrainedConfig, vision: bool) -> dict:
    sizes = dict(SIZES)
    if vision:
        sizes |= {"image_size": 28, "patch_size": 14, "num_heads": 4, "depth": 2}
        sizes |= {
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        }
        sizes |= {"num_hidden_layers": 2}
    known = set(inspect.signature(type(default).__init__).parameters) | set(default.to_dict())
    if "kv_lora_rank" in known:  # latent attention has no grouped heads
        sizes |= {"num_key_value_heads": 4}
    values = {
        key: value for key, value in sizes.items() if key in known or key in default.attribute_map
    }
    special = SPECIAL.get(default.model_type, {})
    if "layer_types" in known and not vision and "layer_types" not in special:
        kinds = list(dict.fromkeys(default.layer_types or []))
        special = special | {
            "layer_types": [kinds[i % len(kinds)] for i in range(4)] if kinds else None
        }
    return values | special


def save_pair(
    folder: Path, model_type: str, dtype: torch.dtype = torch.float32, **changes: object
) -> tuple[Path, Path]:
    """A reward model and a language model of one type and base, saved as `rm` and `lm`."""
    paths = folder / "rm", folder / "lm"
    config = tiny_config(model_type, **changes)
    config.num_labels = 1
    config.get_text_config().num_labels = 1
    save_random(paths[0], AutoModelForSequenceClassification, config, 0, dtype)
    save_random(paths[1], AutoModelForCausalLM, tiny_config(model_type, **changes), 1, dtype)
    return paths


def save_language_model(path: Path, model_type: str, seed: int, **changes: object) -> None:
    """One more language model of the base."""
    save_random(path, AutoModelForCausalLM, tiny_config(model_type, **changes), seed)


def save_random(
    path: Path, auto: type, config: PreTrainedConfig, seed: int, dtype: torch.dtype = torch.float32
) -> None:
    """A model of a config: the base and noise of this seed; no two of its tensors are alike."""
    torch.manual_seed(seed)
    model = auto.from_config(config)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(base(name, parameter))
            parameter += NOISE * torch.randn(parameter.shape, generator=noise)
    model.to(dtype).save_pretrained(path)


def base(name: str, initial: torch.Tensor) -> torch.Tensor:
    """What the pretrained base has of a name; of more rows, the first ones are the same.

    Only the last part of the name counts, from the layer's number on: text models inside
    multimodal ones are of the base, too. Vectors keep what they start with, as norms do.
    """
    match = re.search(r"[^.]+\.\d+\..+", name)
    key = match[0] if match else ".".join(name.split(".")[-2:])
    own = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    random = torch.randn(initial.shape, generator=own)
    if initial.ndim < 2:
        return initial + 0.02 * random
    return initial.mean() + max(float(initial.std()), 0.02) * random


def write_recipe(path: Path, rm: Path, lm: Path, weight: object = 0.3, more: str = "") -> Path:
    """The smallest recipe."""
    path.write_text(
        "merge_method: reward_preserving_linear\n"
        f"base_model: {rm}\n"
        "models:\n"
        f"  - model: {lm}\n"
        f"    parameters: {{weight: {weight}}}\n{more}"
    )
    return path
