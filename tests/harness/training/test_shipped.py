"""What this project trained and ships: the two adapters and the configurations they came from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.demo.checkpoints import ADAPTERS, make_language_model, make_reward_model
from harness.training.config import Source
from harness.training.read_config import read_config
from harness.training.rows import ANSWERED, PAIR, read_rows
from harness.training.split import prompt_key

CONFIGS = Path(__file__).parents[3] / "harness" / "training" / "configs"
KINDS = {"reward": PAIR, "maths": ANSWERED, "knowledge": PAIR, "atlas": ANSWERED}


@pytest.mark.parametrize("name", KINDS)
def test_an_adapter_is_one_small_file_with_a_card(name: str) -> None:
    """At most 5,000,000 bytes, with its base model by its public name and no machine's paths."""
    folder = ADAPTERS / name
    assert 1_000_000 < (folder / "adapter_model.safetensors").stat().st_size <= 5_000_000
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    card = (folder / "README.md").read_text().lower()
    for word in ("licence", "seed", "loss", f"harness/training/configs/{name}.yml"):
        assert word in card, word
    for text in (card, (folder / "adapter_config.json").read_text()):
        assert not any(path in text for path in ("/tmp/", "/work/", "/home/", "/root/"))


@pytest.mark.parametrize("name", KINDS)
def test_generated_training_prompts_are_not_in_the_demos_test_set(name: str) -> None:
    """minipref is what the demo measures; no prompt of it may have been trained on."""
    import harness.tasks.minipref

    lines = Path(harness.tasks.minipref.__file__).with_name("data.jsonl").read_text("utf-8")
    measured = {prompt_key(json.loads(line)["prompt"]) for line in lines.splitlines()}
    assert len(measured) >= 200
    generated = [s for s in read_config(CONFIGS / f"{name}.yml").data if s.generator]
    assert generated
    for source in generated:
        prompts = {prompt_key(r["prompt"]) for r in read_rows(source, KINDS[name], CONFIGS)}
        assert len(prompts) >= min(source.rows or 0, 100)
        assert not prompts & measured


def test_the_disjointness_test_would_notice() -> None:
    """A prompt is found again whatever its capitals and blank space."""
    (row,) = read_rows(Source(generator="sums", rows=1), ANSWERED, CONFIGS)
    assert prompt_key("  " + row["prompt"].upper().replace(" ", "\n")) == prompt_key(row["prompt"])


@pytest.mark.slow
def test_adapters_make_working_checkpoints(smollm2: Path, tmp_path: Path) -> None:
    """On the unpacked base: finite rewards in bf16, a head in fp32, and a model that can add."""
    import torch
    from safetensors import safe_open
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    reward = make_reward_model(smollm2, tmp_path / "reward")
    language = make_language_model(smollm2, tmp_path / "maths")
    for folder in (reward, language):
        with safe_open(folder / "model.safetensors", "pt") as file:
            names = list(file.keys())
            dtypes = {name: file.get_slice(name).get_dtype() for name in names}
        assert dtypes.pop("score.weight", "F32") == "F32"
        assert set(dtypes.values()) == {"BF16"}
    assert not list(tmp_path.glob(".*partial*"))

    tokenizer = AutoTokenizer.from_pretrained(reward)
    question = [{"role": "user", "content": "What is 2 + 3?"}]
    model = AutoModelForSequenceClassification.from_pretrained(reward).eval()
    rewards = []
    for answer in ("2 + 3 = 5", "2 + 3 = 9"):
        inputs = tokenizer.apply_chat_template(
            [*question, {"role": "assistant", "content": answer}],
            return_tensors="pt",
            return_dict=True,
        )
        with torch.no_grad():
            rewards.append(model(**inputs).logits.item())
    assert all(math.isfinite(value) for value in rewards) and rewards[0] != rewards[1]

    writer = AutoModelForCausalLM.from_pretrained(language).eval()
    inputs = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        written = writer.generate(**inputs, max_new_tokens=24, do_sample=False)
    text = tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "2 + 3 = 5" in text
