"""A reward is what the model class gives for the single unpadded conversation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from harness.models.score.scorer import pooled_position
from tests.harness.conftest import sharpened
from tests.harness.models.test_reward import rewards

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "num_labels": 1,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 3,  # pad = eos, as many published reward models have it
}

# Dense, sliding window, learned positions, ALiBi, experts, state space, linear attention.
DECODERS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "gemma2": {"head_dim": 8, "sliding_window": 8},
    "mistral": {"sliding_window": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48},
    "bloom": {"n_layer": 2, "n_head": 4},
    "gpt_neox": {},
    "mixtral": {"num_local_experts": 4},
    "jamba": {
        "num_hidden_layers": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "num_experts": 2,
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
    },
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid"],
        "mamba_d_state": 4,
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "mamba_ngroups": 1,
        "num_mem_blocks": 1,
    },
    "qwen3_next": {
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "q_lora_rank": 16,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
    },
}


def build(name: str, **changes: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{**SMALL, **DECODERS.get(name, {}), **changes})
    return sharpened(AutoModelForSequenceClassification.from_config(config))


def rows() -> list[list[int]]:
    """Unlike lengths; one ends with pad tokens, one has them inside, one is nothing else."""
    import torch

    generator = torch.Generator().manual_seed(1)
    made = [torch.randint(0, 97, (n,), generator=generator).tolist() for n in (3, 17, 60, 26)]
    made[1][-2:] = [3, 3]
    made[2][30] = 3
    return [*made, [3, 3, 3, 3]]


def alone(model: Any, ids: list[int]) -> float:
    """The definition: model(**inputs).logits of one unpadded row."""
    import torch

    row = torch.tensor([ids])
    with torch.no_grad():
        return float(model(input_ids=row, attention_mask=torch.ones_like(row)).logits)


def scorer(model: Any, **options: Any) -> Any:
    import torch

    from harness.models.score.scorer import Scorer

    return Scorer(model, torch.device("cpu"), **options)


@pytest.mark.parametrize("name", DECODERS)
def test_padded_batches_give_the_single_rows_reward(name: str) -> None:
    """fp32, within 1e-5, whatever the padding, the order and the company."""
    model = build(name)
    expected = [alone(model, ids) for ids in rows()]
    score = scorer(model)
    assert not score.own_forward and score.pads
    assert score(rows()) == pytest.approx(expected, abs=1e-5)
    assert score(rows()[::-1])[::-1] == pytest.approx(expected, abs=1e-5)
    assert [score([ids])[0] for ids in rows()] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1


def test_a_model_without_a_pad_token_is_batched_all_the_same() -> None:
    """transformers refuses batches there, and pools at the last token."""
    model = build("llama", pad_token_id=None, eos_token_id=2)
    expected = [alone(model, ids) for ids in rows()]
    assert scorer(model)(rows()) == pytest.approx(expected, abs=1e-5)


def test_an_encoder_is_run_by_its_own_forward(caplog: pytest.LogCaptureFixture) -> None:
    """BERT pools otherwise: detected by trying, said once, and exact."""
    model = build("bert")
    expected = [alone(model, ids) for ids in rows()]
    with caplog.at_level(logging.WARNING):
        score = scorer(model)
    assert score.own_forward and "own forward, rows of equal length together" in caplog.text
    assert not score.may_share_batch(3, 4) and score.may_share_batch(4, 4)
    assert [score([ids])[0] for ids in rows()] == pytest.approx(expected, abs=1e-6)


def test_a_head_of_several_modules_is_run_by_the_models_own_forward() -> None:
    model = build("modernbert-decoder")
    expected = [alone(model, ids) for ids in rows()]
    score = scorer(model)
    assert score.own_forward
    assert [score([ids])[0] for ids in rows()] == pytest.approx(expected, abs=1e-5)


def test_a_head_of_several_layers_is_one_module() -> None:
    """A deep head is found by where it is, not by its name."""
    import torch

    model = build("llama")
    torch.manual_seed(0)
    model.score = torch.nn.Sequential(
        torch.nn.Linear(32, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    )
    expected = [alone(model, ids) for ids in rows()]
    score = scorer(model)
    assert not score.own_forward
    assert score(rows()) == pytest.approx(expected, abs=1e-5)


def test_the_head_runs_in_float32_unless_told_otherwise() -> None:
    """bf16: the fp32 head separates rewards that the bf16 head rounds together."""
    import torch

    half = build("llama").to(torch.bfloat16)
    own = scorer(half, float32_head=False)
    assert own.head_dtype == "the model's own"
    rounded = own(rows())
    assert rounded == [float(torch.tensor(r).bfloat16()) for r in rounded]
    assert rounded == pytest.approx([alone(half, ids) for ids in rows()], abs=0.1)
    fine = scorer(half)
    assert fine.head_dtype == "float32" and half.score.weight.dtype == torch.float32
    assert fine(rows()) == pytest.approx(rounded, abs=0.1)
    assert fine(rows()) != [float(torch.tensor(r).bfloat16()) for r in fine(rows())]


def test_autocast_leaves_the_head_in_float32() -> None:
    import torch

    model = build("llama")
    expected = [alone(model, ids) for ids in rows()]
    rewards = scorer(model, autocast=torch.bfloat16)(rows())
    assert rewards == pytest.approx(expected, abs=0.2)
    assert rewards != [float(torch.tensor(r).bfloat16()) for r in rewards]


def test_the_pooled_position() -> None:
    """The right-most token that is not the pad token; argmax over zeros gives 0."""
    assert pooled_position([5, 6, 7], None) == 2
    assert pooled_position([5, 3, 7, 3, 3], 3) == 2
    assert pooled_position([3, 3], 3) == 0


LENGTH_DEPENDENT: dict[str, dict[str, Any]] = {
    "dynamic": {
        "max_position_embeddings": 40,
        "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    },
    "longrope": {
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 4,
            "long_factor": [3.0, 5.0, 7.0, 9.0],
            "original_max_position_embeddings": 40,
            "factor": 8.0,
        },
    },
}


def on_both_sides() -> list[tuple[str, str]]:
    """Conversations of up to 40 tokens and of more, the longest in the middle."""
    return [
        ("What is 1 + 1?", "2"),
        ("What is the capital of France?", "The capital of France is Paris. "),
        ("What is the capital of France?", "The capital of France is Paris, please be kind! " * 9),
        ("Write a function", "def add(a, b): return a + b"),
        ("What is the capital of France?", "The capital of France is brief. " * 5),
    ]


@pytest.mark.parametrize("rope", LENGTH_DEPENDENT)
@pytest.mark.parametrize("kind", ["reward", "reward-implicit"])
def test_a_rope_that_looks_at_the_longest_row(
    kind: str,
    rope: str,
    tmp_path: Path,
    tokenizer: Any,
    small_config: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One by one, in batches, and each by a model that has seen nothing else: the same."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    from harness.models.implicit import RewardImplicit
    from harness.models.reward import Reward

    model_class, lm_class = {
        "reward": (LlamaForSequenceClassification, Reward),
        "reward-implicit": (LlamaForCausalLM, RewardImplicit),
    }[kind]
    config = LlamaConfig(**{**small_config, **LENGTH_DEPENDENT[rope]})
    sharpened(model_class(config)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    def found(pairs: Any, batch_size: int) -> list[float]:
        options = {"device": "cpu", "max_length": 400, "batch_size": batch_size}
        return rewards(lm_class(str(tmp_path), **options), pairs)

    pairs = on_both_sides()
    alone = [value for pair in pairs for value in found([pair], 1)]
    assert found(pairs, 1) == pytest.approx(alone, abs=1e-4)
    caplog.clear()
    assert found(pairs, 3) == pytest.approx(alone, abs=1e-4)
    said = [record for record in caplog.records if "RoPE depends" in record.message]
    assert len(said) == 1 and "rows over 40 tokens" in said[0].message


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (None, None),
        ({"rope_type": "yarn", "factor": 2.0}, None),
        ({"type": "linear", "factor": 2.0}, None),
        ({"full": {"rope_type": "default"}, "sliding": {"rope_type": "linear"}}, None),
        ({"full": {"rope_type": "dynamic"}, "sliding": {"rope_type": "linear"}}, 256),
        ({"rope_type": "longrope", "original_max_position_embeddings": 99}, 99),
        ({"type": "su"}, 0),  # Phi-3's first name for it, in code of its own
    ],
)
def test_how_long_rows_of_unlike_length_may_be(settings: Any, limit: int | None) -> None:
    """Types are judged by name; a name not known is held to look at the length."""
    from types import SimpleNamespace

    import torch

    from harness.models.score.rope import Rope

    model: Any = torch.nn.Linear(1, 1)
    model.config = SimpleNamespace(rope_scaling=settings, max_position_embeddings=256)
    rope = Rope(model)
    assert rope.limit == limit
    assert rope.may_share_batch(300, 300)
    assert rope.may_share_batch(300, 5) is (limit is None)
    assert rope.may_share_batch(98, 5) is (limit != 0)
