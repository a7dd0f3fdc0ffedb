# SPDX-License-Identifier: Apache-2.0
"""Which settings of two models are said to differ, and which say nothing about the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import merging
import pytest
import tiny
from merging import Trio
from transformers import AutoConfig

from dogerm_plugin.anatomy.config_differences import differences


def configure(folder: Path, changes: dict[str, Any]) -> None:
    """Change keys of a config.json; None removes one."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.mark.parametrize(
    ("model_type", "mine", "theirs"),
    [
        ("llama", {"rms_norm_eps": 1e-6}, {"rms_norm_eps": 1e-5}),
        ("llama", {}, {"pretraining_tp": 2}),
        ("llama", {}, {"tie_word_embeddings": True}),
        ("llama", {}, {"hidden_act": "gelu"}),
        ("mistral", {"sliding_window": 16}, {"sliding_window": 32}),
        ("gemma2", {}, {"attn_logit_softcapping": 30.0}),
        ("gemma2", {}, {"final_logit_softcapping": 10.0}),
        ("gemma2", {}, {"query_pre_attn_scalar": 144}),
        ("gemma2", {}, {"layer_types": ["sliding_attention"] + ["full_attention"] * 3}),
        ("qwen3_moe", {}, {"num_experts_per_tok": 1}),
        ("qwen3_moe", {}, {"norm_topk_prob": True}),
        ("granite", {}, {"residual_multiplier": 0.22}),
        ("granite", {}, {"attention_multiplier": 0.015625}),
        ("cohere", {}, {"logit_scale": 1.0}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, {}),
    ],
    ids=str,
)
def test_a_setting_that_matters(model_type: str, mine: dict, theirs: dict) -> None:
    """Named, with both values."""
    configs = [tiny.tiny_config(model_type, **changes) for changes in (mine, theirs)]
    (key,) = {**mine, **theirs}
    found = differences(*configs)
    assert [name.split(".")[0] for name in found] == [key]
    for text, config in zip(*found.values(), configs, strict=True):
        value = getattr(config, key)
        inner = value["rope_theta"] if isinstance(value, dict) else value
        assert text.startswith(str(inner)[:20])


@pytest.mark.parametrize(
    ("model_type", "mine", "theirs"),
    [
        ("llama", {}, {"use_cache": False, "pad_token_id": 2, "eos_token_id": [1, 2]}),
        ("llama", {}, {"attention_dropout": 0.1, "initializer_range": 0.01, "dtype": "bfloat16"}),
        ("llama", {"num_labels": 1}, {"architectures": ["LlamaForCausalLM"]}),
        ("llama", {}, {"max_position_embeddings": 4096, "unsloth_fixed": True}),
        ("llama", {"num_key_value_heads": 4}, {"num_key_value_heads": None}),
        ("llama", {"head_dim": None}, {}),
        ("llama", {"hidden_act": "swish"}, {}),
        ("mixtral", {}, {"router_aux_loss_coef": 0.02, "output_router_logits": True}),
        ("qwen2", {"max_window_layers": 2}, {"max_window_layers": 3}),
        ("llama", {}, {"vhead_layer_type": "mlp", "mean": 0.1}),
    ],
    ids=str,
)
def test_a_setting_that_does_not(model_type: str, mine: dict, theirs: dict) -> None:
    """Published pairs differ in these; nothing is said."""
    configs = [tiny.tiny_config(model_type, **changes) for changes in (mine, theirs)]
    assert differences(*configs) == {}


def test_a_length_that_the_rope_looks_at() -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    one, other = (
        tiny.tiny_config("llama", rope_parameters=rope, max_position_embeddings=n)
        for n in (64, 128)
    )
    assert "max_position_embeddings" in differences(one, other)


@pytest.mark.parametrize("model_type", tiny.decoder_types())
def test_a_model_and_itself(model_type: str) -> None:
    """Of no type is anything said that is only written otherwise."""
    config = tiny.tiny_config(model_type)
    text = config.get_text_config()
    again = type(config).from_dict(json.loads(config.to_json_string(use_diff=False)))
    assert differences(text, again.get_text_config()) == {}
    assert differences(text, type(text).from_dict(text.to_diff_dict())) == {}


def test_one_warning_for_all(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that are left out have the class's default: rms_norm_eps is 1e-6."""
    rope = {"rope_type": "default", "rope_theta": 1e6}
    configure(own_trio.lm, {"rms_norm_eps": None, "rope_parameters": rope, "pretraining_tp": 2})
    configure(own_trio.rm, {"rms_norm_eps": 1e-6, "use_cache": False})
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))
    (record,) = caplog.records
    said = record.getMessage()
    assert str(own_trio.lm) in said and "rms_norm_eps" not in said and "use_cache" not in said
    assert "pretraining_tp 2 (reward model: 1)" in said
    assert "rope_parameters.rope_theta 1000000.0 (reward model: 10000.0)" in said


def test_towers_are_compared_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rm, lm = tiny.save_pair(tmp_path, "gemma3")
    file = lm / "config.json"
    config = json.loads(file.read_text())
    config["vision_config"]["layer_norm_eps"] = 1e-3
    file.write_text(json.dumps(config))
    assert AutoConfig.from_pretrained(lm).vision_config.layer_norm_eps == 1e-3
    merging.merged(tmp_path, merging.recipe(rm, (lm, 0.3)))
    assert "vision_config.layer_norm_eps 0.001 (reward model: 1e-06)" in caplog.text
