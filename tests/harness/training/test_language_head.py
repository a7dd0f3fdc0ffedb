# SPDX-License-Identifier: Apache-2.0
"""The language model's head on a reward model's trunk, for model classes that are not alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from harness.errors import HarnessError
from harness.training.language_head import LanguageHead, captured, put_beside
from tests.harness.conftest import sharpened

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "num_labels": 1,
}
TYPES = {
    "llama": {},
    "qwen2": {"tie_word_embeddings": True},
    "phi": {},  # its head has a bias
    "gemma2": {"final_logit_softcapping": 5.0},  # tied, and the logits are capped
    "gpt_neox": {"num_key_value_heads": 4},  # its head is called embed_out
}


@pytest.fixture(params=TYPES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny language model's folder."""
    config = AutoConfig.for_model(request.param, **{**SIZES, **TYPES[request.param]})
    model = sharpened(AutoModelForCausalLM.from_config(config))
    model.save_pretrained(tmp_path / "source")
    return tmp_path / "source"


def _rows() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, 64, (3, 12), generator=torch.Generator().manual_seed(2))
    labels = ids.clone()
    labels[:, :4] = -100
    labels[1, 8:] = -100
    return ids, labels


def _beside(source: Path, trained: bool) -> tuple[Any, LanguageHead]:
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    return model, put_beside(model, str(source), "float32", trained=trained)


def test_log_probs_are_the_classs_own(source: Path) -> None:
    """Caps and biases included; one forward gives the rewards and the states."""
    causal = AutoModelForCausalLM.from_pretrained(source).eval()
    model, head = _beside(source, trained=False)
    ids, labels = _rows()
    with torch.no_grad(), captured(getattr(model, model.base_model_prefix)) as seen:
        model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
        found = head.token_log_probs(seen[-1], labels)
        chances = causal(ids).logits.log_softmax(-1)
    assert len(seen) == 1
    for row, place in ((labels != -100).nonzero()).tolist():
        expected = float(chances[row, place - 1, ids[row, place]])
        assert float(found[row, place - 1]) == pytest.approx(expected, abs=1e-4)
    shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    assert bool((found[shifted == -100] == 0).all())


def test_a_saved_model_has_both_heads(source: Path, tmp_path: Path) -> None:
    """Trained and saved together, they load in either class with what was trained."""
    model, head = _beside(source, trained=True)
    ids, labels = _rows()
    with captured(getattr(model, model.base_model_prefix)) as seen:
        reward = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum()
        (reward - head.token_log_probs(seen[-1], labels).sum()).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 1e-3 * parameter.grad.sign()
    model.save_pretrained(tmp_path / "both")
    head.declare(tmp_path / "both")
    loaded, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "both", output_loading_info=True
    )
    assert not report["missing_keys"]
    output = dict(loaded.get_output_embeddings().named_parameters())
    assert output.keys() == dict(head.module.named_parameters()).keys()
    assert all(torch.equal(output[n], p) for n, p in head.module.named_parameters())
    again, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "both", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert torch.equal(again.score.weight, model.score.weight)


def test_no_labels_no_logits(language_model: Path) -> None:
    """Zeros, and no step."""
    _, head = _beside(language_model, trained=False)
    found = head.token_log_probs(torch.ones(2, 5, 32), torch.full((2, 5), -100))
    assert torch.equal(found, torch.zeros(2, 5))


def test_a_model_without_a_head_is_refused(reward_model: Path) -> None:
    """It would be a random one."""
    with pytest.raises(HarnessError, match=r"holds no lm_head\.weight, which would be random"):
        _beside(reward_model, trained=False)
