# SPDX-License-Identifier: Apache-2.0
"""Tiny models of every type whose tensors transformers renames or converts while it loads them."""

from typing import Any

import tiny
import transformers
from transformers import PreTrainedConfig
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

# Types that no config of a few thousand parameters fits, by the sizes that `tiny` knows, or that
# need a package that isn't here.
NOT_TINY = {
    *("deepseek_ocr2", "deepseek_v4", "dots3_note", "dots3_note_text", "emu3", "ernie4_5_vl_moe"),
    *("gemma3n_text", "gemma4_unified", "glm5_next", "granitemoehybrid", "hunyuan_vl", "inkling2"),
    *("lfm2_moe", "longcat_flash", "molmo2", "nemotron_h_omni", "pi0", "qwen4_exp_text"),
    *("glm4v_moe", "paddleocr_vl", "pp_chart2table", "shieldgemma2"),
    *("cosmos3_edge", "qwen2_5_omni_thinker", "qwen3_omni_moe_thinker", "unlimited_ocr"),
}
SECTIONS = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
QWEN_VL = {
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "rope_parameters": SECTIONS,
}
VISION = {"depth": 2, "num_heads": 4, "embed_dim": 32, "intermediate_size": 48, "patch_size": 14}
NESTED = {
    "qwen2_vl": {"text_config": QWEN_VL, "vision_config": VISION | {"hidden_size": 64}},
    "qwen2_5_vl": {
        "text_config": QWEN_VL,
        "vision_config": VISION | {"hidden_size": 32, "out_hidden_size": 64},
    },
}


def types() -> list[str]:
    """All model types that have a language model and any conversion of their own."""
    named = (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    found = []
    for name in sorted(set().union(*named)):
        others = (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, MODEL_MAPPING_NAMES)
        keys = [name, *(mapping.get(name) for mapping in (*named, *others))]
        if any(isinstance(key, str) and get_checkpoint_conversion_mapping(key) for key in keys):
            found.append(name)
    return [name for name in found if name not in NOT_TINY]


def language_model(name: str) -> Any:
    """The class of a type's language model: that which takes images, where there is one."""
    image = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(name)
    return getattr(transformers, image or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name])


def classifies(name: str) -> bool:
    """Whether transformers has a sequence classifier of a type."""
    return name in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES


def config(name: str) -> PreTrainedConfig:
    """A config of a few thousand parameters, with one label."""
    made = tiny.tiny_config(name)
    if name in NESTED:
        made = type(made)(**NESTED[name])
    made.num_labels = made.get_text_config().num_labels = 1
    return made
