"""What is no reward model is refused, with the reason and the way out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.load.reward_loader import refuse_left_out
from tests.harness.models.test_reward import rewards, some_pairs

Save = Callable[..., Path]


def reward(folder: Path, **arguments: Any) -> Any:
    from harness.models.reward import Reward

    return Reward(str(folder), **{"device": "cpu", "batch_size": 4, **arguments})


def without_tensors(folder: Path, start: str) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if not k.startswith(start)}
    save_file(kept, file, metadata={"format": "pt"})


def test_a_language_model_is_refused(language_model: Path) -> None:
    with pytest.raises(HarnessError) as caught:
        reward(language_model)
    message = str(caught.value)
    assert "is a language model, not a reward model: it holds no score.weight" in message
    assert "--model hf" in message and "mergekit-yaml" in message and "\n" not in message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no such folder"):
        reward(tmp_path / "nowhere")


def test_a_random_head_is_refused(save_reward_model: Save) -> None:
    folder = save_reward_model()
    without_tensors(folder, "score")
    with pytest.raises(HarnessError, match=r"not a reward model: it holds no score.weight"):
        reward(folder)


def test_a_random_body_is_refused(save_reward_model: Save) -> None:
    folder = save_reward_model()
    without_tensors(folder, "model.layers.1.mlp")
    with pytest.raises(HarnessError, match="lacks 3 tensors of the model's body"):
        reward(folder)


def with_tensors(folder: Path, *names: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    more = {name: torch.ones(32) for name in names}
    save_file(load_file(file) | more, file, metadata={"format": "pt"})


def test_a_body_with_more_to_it_than_the_class_is_refused(save_reward_model: Save) -> None:
    """transformers would leave the tensors out with a warning, and score another model."""
    folder = save_reward_model()
    with_tensors(folder, "model.score_norm.weight", "model.layers.0.self_attn.q_proj.bias")
    with pytest.raises(HarnessError) as caught:
        reward(folder)
    message = str(caught.value)
    assert "model.layers.0.self_attn.q_proj.bias, model.score_norm.weight of its body" in message
    assert "LlamaForSequenceClassification has no place" in message and "\n" not in message


def test_buffers_of_older_releases_and_an_lm_head_are_let_pass(
    save_reward_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_reward_model()
    before = rewards(reward(folder), some_pairs(1))
    with_tensors(
        folder, "model.layers.0.self_attn.rotary_emb.inv_freq", "model.masked_bias", "lm_head.bias"
    )
    with caplog.at_level(logging.WARNING):
        assert rewards(reward(folder), some_pairs(1)) == before
    assert "which the checkpoint holds too" not in caplog.text


def test_what_a_quantized_body_stores_beside_is_let_pass() -> None:
    """Scales and zero points, which the quantizer takes."""
    from types import SimpleNamespace

    import torch

    model: Any = torch.nn.Module()
    model.base_model_prefix, model.model = "model", torch.nn.Linear(1, 1)
    model.config = SimpleNamespace(quantization_config={"quant_method": "x"})
    assert refuse_left_out("x", model, ["model.weight_scale", "other"]) == ["other"]
    model.config.quantization_config = None
    with pytest.raises(HarnessError, match=r"no place for model\.weight_scale"):
        refuse_left_out("x", model, ["model.weight_scale", "other"])


def test_what_stands_beside_a_whole_head_is_named(
    save_reward_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_reward_model()
    before = rewards(reward(folder), some_pairs(1))
    with_tensors(folder, "normalizer.mean", "v_head.weight")
    with caplog.at_level(logging.WARNING):
        assert rewards(reward(folder), some_pairs(1)) == before
    assert "has its head and does not use normalizer.mean, v_head.weight" in caplog.text


def test_two_labels_are_refused(save_reward_model: Save) -> None:
    with pytest.raises(HarnessError, match=r"num_labels=2 \(score.weight \[2, 32\]\)"):
        reward(save_reward_model(num_labels=2))


def test_a_config_of_one_label_over_a_head_of_two_is_explained(save_reward_model: Save) -> None:
    """One that forgot its only label is taken: `test_labels`."""
    folder = save_reward_model(num_labels=2)
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(HarnessError, match="num_labels=1"):
        reward(folder)


def test_a_model_type_without_the_class_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(
        vocab_size=400, hidden_size=16, state_size=4, num_hidden_layers=1, tie_word_embeddings=False
    )
    MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(HarnessError, match="no sequence-classification class"):
        reward(tmp_path)


def make_adapter(base: Path, out: Path, *, head: bool) -> Any:
    """A LoRA adapter on the reward model's body, with or without the head in modules_to_save."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    wrapped = get_peft_model(
        model,
        LoraConfig(
            task_type="SEQ_CLS" if head else None,
            target_modules=["q_proj", "v_proj"],
            r=2,
            init_lora_weights=False,
        ),
    ).eval()
    wrapped.save_pretrained(out)
    return wrapped


def scored_by(model: Any, tokenizer: Any, pairs: list[tuple[str, str]]) -> list[float]:
    import torch

    values = []
    for prompt, response in pairs:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        inputs = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
        with torch.no_grad():
            values.append(float(model(**inputs).logits))
    return values


def test_an_adapter_may_bring_the_head(
    language_model: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """A language model and peft= with modules_to_save: a legitimate reward model."""
    wrapped = make_adapter(language_model, tmp_path, head=True)
    model = reward(language_model, peft=str(tmp_path))
    assert not model.scorer.own_forward and model.scorer.head_dtype == "float32"
    pairs = some_pairs(4)
    expected = scored_by(wrapped, tokenizer, pairs)
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-5)


def test_an_adapter_without_the_head_needs_a_reward_model(
    language_model: Path, reward_model: Path, tokenizer: Any, tmp_path: Path
) -> None:
    wrapped = make_adapter(reward_model, tmp_path, head=False)
    pairs = some_pairs(4)
    expected = scored_by(wrapped, tokenizer, pairs)
    assert rewards(reward(reward_model, peft=str(tmp_path)), pairs) == pytest.approx(
        expected, abs=1e-5
    )
    with pytest.raises(HarnessError, match=r"holds no score.weight"):
        reward(language_model, peft=str(tmp_path))


def test_prompt_tuning_is_run_by_its_own_forward(
    reward_model: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """It changes the inputs, so body and head cannot be run apart."""
    import torch
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    wrapped = get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(reward_model),
        PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4),
    ).eval()
    wrapped.save_pretrained(tmp_path)
    model = reward(reward_model, peft=str(tmp_path))
    assert model.scorer.own_forward and next(model.model.parameters()).dtype == torch.float32
    pairs = some_pairs(4)
    assert rewards(model, pairs) == pytest.approx(scored_by(wrapped, tokenizer, pairs), abs=1e-5)


def test_a_folder_that_is_no_adapter_is_named(reward_model: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="holds no PEFT adapter"):
        reward(reward_model, peft=str(tmp_path))


def test_an_adapters_head_without_a_place_is_refused(reward_model: Path, tmp_path: Path) -> None:
    """PEFT would leave it out with a warning, and the base model's head would score."""
    from safetensors.torch import load_file, save_file

    make_adapter(reward_model, tmp_path, head=True)
    file = tmp_path / "adapter_model.safetensors"
    state = {name.replace("score", "v_head"): tensor for name, tensor in load_file(file).items()}
    assert any("v_head" in name for name in state)
    save_file(state, file, metadata={"format": "pt"})
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config |= {"task_type": None, "modules_to_save": ["v_head"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(HarnessError, match=r"v_head.weight \[1, 32\].*would be left out"):
        reward(reward_model, peft=str(tmp_path))
