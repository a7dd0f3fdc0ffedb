"""Real runs of tiny models through the command line: train, be killed, go on, be loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from tests.harness.training.conftest import pairs
from tests.harness.training.killing import kill_at_the_first_checkpoint

Write = Callable[[str, list[dict[str, Any]]], Path]
SMALL = {"batch_size": 4, "learning_rate": 1e-2, "evaluations": 2}


def _run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, [str(a) for a in arguments], catch_exceptions=False)


def test_reward_run(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """Rewards of the saved adapter are the plain model's logits of the rendered conversation."""
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    write_jsonl("rows.jsonl", pairs(40))
    config = write_config(
        model="some/base",
        data=[
            {"file": "rows.jsonl", "balance_length": True},
            {"file": "rows.jsonl", "corrupt": 1, "rows": 8},
        ],
        lora={"rank": 4},
        training=SMALL,
        validation={"share": 0.25},
    )
    out = tmp_path / "out"
    result = _run("reward", config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output

    figures = json.loads((out / "figures.json").read_text())
    assert set(figures["validation"]) == {"all", "rows", "rows, 1 exchanged"}
    assert 0 <= figures["validation"]["all"]["accuracy"] <= 1
    assert figures["curves"]["training loss"] and figures["curves"]["validation accuracy"]
    assert (out / "figures.png").stat().st_size > 1000
    assert not (out / "checkpoints").exists()
    settings = json.loads((out / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "some/base"
    tensors = load_file(out / "adapter_model.safetensors")
    assert {str(t.dtype) for n, t in tensors.items() if "lora" in n} == {"torch.bfloat16"}
    (head,) = (n for n in tensors if "lora" not in n)
    assert head.endswith("score.weight") and tensors[head].dtype == torch.float32

    plain = AutoModelForSequenceClassification.from_pretrained(
        language_model, num_labels=1, dtype=torch.float32
    )
    model = PeftModel.from_pretrained(plain, out).merge_and_unload().eval()
    assert torch.equal(model.score.weight, tensors[head])
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    rewards = []
    for row in pairs(40)[:6]:
        for answer in (row["chosen"], row["rejected"]):
            inputs = tokenizer.apply_chat_template(
                [
                    {"role": "user", "content": row["prompt"]},
                    {"role": "assistant", "content": answer},
                ],
                return_tensors="pt",
                return_dict=True,
            )
            rewards.append(model(**inputs).logits.item())
    assert all(abs(reward) < 1e4 for reward in rewards) and len(set(rewards)) > 6

    again = _run("reward", config, "-o", out, "--model", language_model)
    assert again.exit_code == 0 and f"{out}: finished already" in again.output
    assert result.stdout.endswith(again.stdout) and again.stdout
    (out / "figures.json").unlink()  # as a kill between the adapter and its figures leaves it
    again = _run("reward", config, "-o", out, "--model", language_model)
    assert again.exit_code == 0 and "finished already" not in again.output
    assert json.loads((out / "figures.json").read_text())["validation"] == figures["validation"]


def test_sft_run_learns(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path]
) -> None:
    """The validation loss falls, and the adapter loads on a causal model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = write_config(
        model="some/base",
        data=[{"generator": "sums", "rows": 60}],
        lora={"rank": 4, "layers": [1, 1]},
        training={**SMALL, "epochs": 2.0},
        validation={"share": 0.2},
    )
    out = tmp_path / "out"
    result = _run("sft", config, "-o", out, "--model", language_model)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "figures.json").read_text())["validation"]
    assert found["loss"] < found["loss_before"]
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(language_model), out)
    adapted = {
        name.split(".layers.")[1][0] for name, _ in model.named_parameters() if "lora" in name
    }
    assert adapted == {"1"}


def test_user_mistakes_are_one_line(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path]
) -> None:
    """Exit status 1, no traceback, and no folder is left behind."""
    good = {"model": "no/such-model", "data": [{"generator": "sums", "rows": 60}]}
    for name, content, folder, message in (
        ("a", {**good, "epochs": 3}, None, "unknown key `epochs`"),
        ("b", good, None, "no/such-model: no tokenizer"),
        ("c", {**good, "max_length": 3}, language_model, "no training rows are left"),
        ("e", {**good, "domain": "law"}, language_model, "no row is of it: the rows are of no dom"),
        ("d", {**good, "lora": {"layers": [0, 7]}}, language_model, "`layers` ends at 7"),
    ):
        config = write_config(f"{name}.yml", **content)
        model = ["--model", folder] if folder else []
        result = _run("sft", config, "-o", tmp_path / name, *model)
        assert result.exit_code == 1, result.output
        assert message in result.output and "Traceback" not in result.output
        if name != "d":  # there the model had to be loaded first
            assert not (tmp_path / name).exists()


@pytest.mark.slow
def test_a_killed_run_goes_on(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path]
) -> None:
    """The next start goes on from the checkpoint and ends like an unbroken run."""
    from safetensors.torch import load_file

    config = write_config(
        model="some/base",
        data=[{"generator": "sums", "rows": 400}],
        lora={"rank": 4},
        training={"batch_size": 4, "learning_rate": 1e-3, "evaluations": 1, "checkpoints": 8},
        validation={"share": 0.05, "rows": 8},
    )
    out, whole = tmp_path / "out", tmp_path / "whole"
    arguments = ["sft", str(config), "--model", str(language_model), "-o"]
    kill_at_the_first_checkpoint(arguments, out)
    assert not (out / "adapter_model.safetensors").exists()

    changed = write_config(
        "changed.yml",
        model="some/base",
        data=[{"generator": "sums", "rows": 400}],
        training={"batch_size": 2},
    )
    refused = _run("sft", changed, "-o", out, "--model", language_model)
    assert refused.exit_code == 1 and "another configuration" in refused.output

    resumed = _run(*arguments, out)
    assert resumed.exit_code == 0 and "going on from checkpoint-" in resumed.output
    assert _run(*arguments, whole).exit_code == 0
    one = load_file(out / "adapter_model.safetensors")
    other = load_file(whole / "adapter_model.safetensors")
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        difference = (tensor.float() - other[name].float()).abs().max().item()
        assert difference <= 2e-3, (name, difference)
