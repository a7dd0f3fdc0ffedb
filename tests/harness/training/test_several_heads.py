"""`dogerm train reward --heads k`: k heads on one trunk, trained, exported and scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from harness.errors import HarnessError
from tests.harness.models.test_reward import requests, reward, some_pairs
from tests.harness.training.conftest import pairs
from tests.harness.training.test_runs import SMALL, Write, _run

HEAD = "base_model.model.score.weight"


@pytest.fixture
def config(write_config: Callable[..., Path], write_jsonl: Write) -> Callable[..., Path]:
    """Writes a tiny configuration."""
    rows = [{**row, "margin": n % 3} for n, row in enumerate(pairs(20))]
    write_jsonl("rows.jsonl", rows)

    def write(name: str = "config.yml", **more: Any) -> Path:
        settings = {
            "model": "some/base",
            "data": [{"file": "rows.jsonl"}],
            "lora": {"rank": 4},
            "training": {**SMALL, "seed": 5},
            "validation": {"share": 0.25},
        }
        return write_config(name, **{**settings, **more})

    return write


def trained(config: Path, out: Path, model: Path, *options: str) -> dict[str, Any]:
    """The adapter's tensors."""
    result = _run("reward", config, "-o", out, "--model", model, *options)
    assert result.exit_code == 0, result.output
    return dict(load_file(out / "adapter_model.safetensors"))


def test_three_heads(config: Callable[..., Path], language_model: Path, tmp_path: Path) -> None:
    """Each is another one; the export has them all, and --model reward combines them."""
    out, checkpoint = tmp_path / "out", tmp_path / "rm"
    head = trained(config(), out, language_model, "--heads", "3")[HEAD]
    assert head.shape == (3, 32) and len({tuple(row.tolist()) for row in head}) == 3
    figures = json.loads((out / "figures.json").read_text())["validation"]["all"]
    assert len(figures["accuracy_by_head"]) == 3 and 0 <= figures["accuracy"] <= 1
    assert json.loads((out / "run.json").read_text())["settings"]["heads"] == 3

    assert _run("export", out, "--model", language_model, "-o", checkpoint).exit_code == 0
    stored = load_file(checkpoint / "model.safetensors")["score.weight"]
    assert stored.equal(head)
    asked = requests(some_pairs(2))
    answers = reward(checkpoint, combine="mean").scorer([[5, 6, 7], [8, 9, 10, 11]])
    assert [len(row) for row in answers] == [3, 3] and len({*answers[0]}) == 3
    exported = reward(checkpoint, combine="mean", dtype="float32").loglikelihood(asked, True)
    adapted = reward(language_model, peft=str(out), combine="mean", dtype="float32")
    for one, other in zip(adapted.loglikelihood(asked, True), exported, strict=True):
        assert one[0] == pytest.approx(other[0], rel=0.05, abs=0.05)  # the export is in bfloat16
    for model, more in ((checkpoint, {}), (language_model, {"peft": str(out)})):
        with pytest.raises(HarnessError, match=r"num_labels=3 .*say what they make together"):
            reward(model, **more)


def test_heads_on_a_reward_model_with_one(
    config: Callable[..., Path], reward_model: Path, tmp_path: Path
) -> None:
    """The model that goes on to be trained has a head of another shape: it is replaced."""
    out, checkpoint = tmp_path / "out", tmp_path / "rm"
    head = trained(config(), out, reward_model, "--heads", "3")[HEAD]
    done = _run("export", out, "--model", reward_model, "-o", checkpoint)
    assert done.exit_code == 0, done.output
    assert load_file(checkpoint / "model.safetensors")["score.weight"].equal(head)
    asked = requests(some_pairs(2))
    adapted = reward(reward_model, peft=str(out), combine="mean", dtype="float32")
    exported = reward(checkpoint, combine="mean", dtype="float32")
    for one, other in zip(
        adapted.loglikelihood(asked, True), exported.loglikelihood(asked, True), strict=True
    ):
        assert one[0] == pytest.approx(other[0], rel=0.05, abs=0.05)  # the export is in bfloat16


def test_one_head_is_as_ever(
    config: Callable[..., Path], language_model: Path, tmp_path: Path
) -> None:
    """To the bit, by the key, by the option, and without either; the option counts most."""
    plain = trained(config(), tmp_path / "plain", language_model)
    assert plain[HEAD].shape == (1, 32)
    three = config("three.yml", heads=3)
    for name, settings, options in (
        ("key", config("one.yml", heads=1), ()),
        ("option", three, ("--heads", "1")),
    ):
        again = trained(settings, tmp_path / name, language_model, *options)
        assert again.keys() == plain.keys()
        assert all(again[key].equal(tensor) for key, tensor in plain.items()), name


def test_each_head_starts_by_its_own_seed(small_config: dict[str, Any]) -> None:
    """The second of seed 5 is the first of seed 6."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from harness.training.several_heads import put_on

    model = LlamaForSequenceClassification(LlamaConfig(**small_config))
    put_on(model, 3, 5)
    before = model.score.weight.detach().clone()
    put_on(model, 3, 6)
    assert torch.equal(before[1:], model.score.weight[:-1]) and len(before.unique()) == 96


def test_the_loss_is_the_heads_mean(
    config: Callable[..., Path], language_model: Path, tmp_path: Path
) -> None:
    """Nearly without learning, it is that of the untrained heads; a margin is its pair's."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from harness.training.several_heads import put_on
    from harness.training.split import split_rows
    from harness.training.tokens import conversation_ids
    from harness.training.turns import parse_turns

    margin = {"columns": {"margin": "margin"}, "file": "rows.jsonl"}
    training = {**SMALL, "learning_rate": 1e-12, "seed": 5}
    settings = config(data=[margin], training=training, validation={"share": 0.4, "rows": 400})
    trained(settings, tmp_path / "out", language_model, "--heads", "3")
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    rows = [{**row, "margin": n % 3} for n, row in enumerate(pairs(20))]
    _, held = split_rows(rows, 0.4)
    model = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1).eval()
    put_on(model, 3, 5)
    tokenizer = AutoTokenizer.from_pretrained(language_model)

    def rewards(row: dict[str, Any], side: str) -> torch.Tensor:
        ids = conversation_ids(tokenizer, parse_turns(row["prompt"]), row[side])
        with torch.no_grad():
            return model(input_ids=torch.tensor([ids])).logits[0]

    losses = [
        -torch.nn.functional.logsigmoid(
            rewards(row, "chosen") - rewards(row, "rejected") - row["margin"]
        ).mean()
        for row in held
    ]
    _, told = figures["curves"]["validation loss"][-1]
    assert told == pytest.approx(float(torch.stack(losses).mean()), rel=0.02)


def test_no_heads_and_none_for_a_language_model(
    config: Callable[..., Path], language_model: Path, tmp_path: Path
) -> None:
    """One line each."""
    for kind, more, words in (
        ("reward", {"heads": 0}, "`heads` must be above 0"),
        ("reward", {"heads": "two"}, "`heads`: expected a whole number, found 'two'"),
        ("sft", {"heads": 2}, "a language model has no reward heads"),
    ):
        result = _run(kind, config(**more), "-o", tmp_path / "out", "--model", language_model)
        assert result.exit_code == 1 and words in result.output, result.output
        assert len(result.output.splitlines()) == 1 and not (tmp_path / "out").exists()
