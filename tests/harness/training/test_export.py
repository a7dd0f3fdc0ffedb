"""Adapter plus base as one checkpoint: the same rewards, and one line for what is no adapter."""

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification

from harness.commands.train import train


@pytest.fixture
def adapter(tmp_path: Path, language_model: Path) -> Path:
    """A LoRA adapter with a reward head of its own, on the tiny language model."""
    base = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1)
    settings = LoraConfig(task_type="SEQ_CLS", r=4, target_modules="all-linear")
    model: Any = get_peft_model(base, settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # starts at zero, which would adapt nothing
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_exported_checkpoint_gives_the_adapters_rewards(
    adapter: Path, language_model: Path, tmp_path: Path
) -> None:
    """The reward of the checkpoint is that of base and adapter, up to bf16's rounding."""
    arguments = ["export", str(adapter), "--model", str(language_model), "-o", str(tmp_path / "rm")]
    done = CliRunner().invoke(train, arguments)
    assert done.exit_code == 0, done.output
    base = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1)
    together = PeftModel.from_pretrained(base, str(adapter)).eval()
    exported, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "rm", dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        expected, found = together(input_ids=ids).logits, exported.eval()(input_ids=ids).logits
    assert torch.allclose(found, expected, rtol=0.05, atol=0.02)
    assert (tmp_path / "rm" / "tokenizer.json").exists()


@pytest.mark.parametrize("text", [None, "{}", "not json"])
def test_no_adapter_is_one_line(text: str | None, tmp_path: Path, language_model: Path) -> None:
    """A folder without a readable adapter_config.json of a known kind."""
    (tmp_path / "adapter").mkdir()
    if text is not None:
        (tmp_path / "adapter" / "adapter_config.json").write_text(text)
    arguments = ["export", str(tmp_path / "adapter"), "--model", str(language_model)]
    done = CliRunner().invoke(train, [*arguments, "-o", str(tmp_path / "out")])
    assert done.exit_code == 1 and done.output.startswith("Error: ")
    assert len(done.output.splitlines()) == 1 and not (tmp_path / "out").exists()
