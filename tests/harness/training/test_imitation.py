# SPDX-License-Identifier: Apache-2.0
"""The imitation loss: against transformers' and TRL's own, and nothing at all at weight 0."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from harness.errors import HarnessError
from harness.training.config import Columns, Config, Imitation, Source, Validation
from harness.training.imitation import IMITATED, ImitationTerm
from harness.training.reward import RewardTraining
from harness.training.rows import PAIR, read_rows
from tests.harness.training.conftest import pairs

Write = Callable[[str, list[dict[str, Any]]], Path]


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, [str(a) for a in arguments], catch_exceptions=False)


def made(folder: Path, source: Path, **settings: Any) -> tuple[RewardTraining, Any, list[Any]]:
    """A training, its model, and the token ids of its rows."""
    config = Config(model="m", data=[Source(file="rows.jsonl")], lora=None, **settings)
    training = RewardTraining(config, folder, str(source), "float32")
    parts, training.validation = training.gather()
    return training, training.load(), [row for part in parts for row in part.ids]


def of_batch(training: RewardTraining, model: Any, rows: list[Any]) -> tuple[Any, dict[str, float]]:
    """The term's loss of a batch, as the trainer has it computed."""
    import torch
    from trl.trainer.reward_trainer import DataCollatorForPreference

    from harness.training.language_head import captured

    (term,) = training.terms
    batch = DataCollatorForPreference(training.tokenizer.pad_token_id)(rows)
    batch |= term.collate(rows, batch["input_ids"].shape[1])
    with captured(training.trunk) as seen, torch.enable_grad():
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    return term.loss(seen[-1], batch)


def of_sft(causal: Any, training: RewardTraining, rows: list[Any], folder: Path) -> Iterator[Any]:
    """What TRL's SFTTrainer says of each row, made of its messages, on the completion only."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    by_prompt = {row["prompt"]: row for row in pairs(12)}
    decoded = [training.tokenizer.decode(row["chosen_ids"]) for row in rows]
    given = [next(row for text, row in by_prompt.items() if text in one) for one in decoded]
    table = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["chosen"]}],
        }
        for row in given
    ]
    trainer = SFTTrainer(
        model=causal,
        args=SFTConfig(output_dir=str(folder), use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list(table),
        processing_class=training.tokenizer,
    )
    for row, ours in zip(trainer.train_dataset, rows, strict=True):
        assert list(row["input_ids"]) == ours["chosen_ids"]
        yield causal(**trainer.data_collator([row])).loss


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("tokens", ["all", "response"])
def test_the_loss_is_transformers_and_trls(
    tokens: str, tied: bool, tmp_path: Path, language_model: Path, write_jsonl: Write
) -> None:
    """The mean over rows of what a causal LM says of the row alone, and its gradient.

    TRL's SFT has the ids of a prompt and of its completion from the same template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = language_model
    if tied:
        source = tmp_path / "tied"
        other = AutoModelForCausalLM.from_pretrained(language_model, tie_word_embeddings=True)
        other.config.tie_word_embeddings = True
        other.tie_weights()
        other.save_pretrained(source)
        AutoTokenizer.from_pretrained(language_model).save_pretrained(source)
    write_jsonl("rows.jsonl", pairs(12))
    imitation = Imitation(weight=1.0, tokens=tokens)
    training, model, rows = made(tmp_path, source, imitation=imitation)
    rows = rows[:4]
    found, logged = of_batch(training, model, rows)
    assert logged == {"imitated": 1.0}

    causal = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    if tokens == "all":
        whole = [torch.tensor([row["chosen_ids"]]) for row in rows]
        losses = [causal(input_ids=ids, labels=ids).loss for ids in whole]
    else:
        losses = list(of_sft(causal, training, rows, tmp_path / "sft"))
    expected = sum(losses) / len(losses)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    found.backward()
    expected.backward()
    theirs = dict(causal.named_parameters())
    for name, parameter in model.named_parameters():
        if name.startswith("model."):
            assert torch.allclose(parameter.grad, theirs[name].grad, atol=1e-6), name


def test_only_answers_above_the_threshold_are_imitated(
    tmp_path: Path, language_model: Path, write_jsonl: Write
) -> None:
    """By their share of the largest score; a row without a score is at 1, and none gives 0."""
    scores = [10, 8.5, 8.4, None, "3", 0]
    rows = [{**row, "score": one} for row, one in zip(pairs(6), scores, strict=True)]
    write_jsonl("rows.jsonl", rows)
    data = [Source(file="rows.jsonl", columns=Columns(score="score"))]
    config = Config(
        model="m",
        data=data,
        imitation=Imitation(weight=0.1, threshold=0.85),
        validation=Validation(share=0.5),
    )
    training = RewardTraining(config, tmp_path, str(language_model), "float32")
    parts, held = training.gather()
    ids = [row for part in (*parts, *held) for row in part.ids]
    prompts = [row["prompt"] for part in (*parts, *held) for row in part.rows]
    imitated = {
        str(prompt): any(label != -100 for label in row[IMITATED])
        for prompt, row in zip(prompts, ids, strict=True)
    }
    assert [imitated[row["prompt"]] for row in rows] == [True, True, False, True, False, False]
    model = training.load()
    by_prompt = dict(zip(map(str, prompts), ids, strict=True))
    mixed = [by_prompt[rows[n]["prompt"]] for n in (0, 2)]
    both, logged = of_batch(training, model, mixed)
    assert logged == {"imitated": 0.5}
    alone, _ = of_batch(training, model, mixed[:1])
    assert both.item() == pytest.approx(alone.item(), abs=1e-6)
    nothing, logged = of_batch(training, model, [by_prompt[rows[n]["prompt"]] for n in (2, 4)])
    assert (float(nothing), logged) == (0.0, {"imitated": 0.0})


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (["much"], "row 1: column score is 'much', expected a score, 0 or above"),
        ([-1], "row 1: column score is -1, expected a score, 0 or above"),
        ([0, 0], "the scores of all 2 chosen answers are 0"),
    ],
)
def test_scores_that_say_nothing(
    scores: list[Any], message: str, tmp_path: Path, write_jsonl: Write
) -> None:
    rows = [{**row, "score": one} for row, one in zip(pairs(len(scores)), scores, strict=True)]
    write_jsonl("rows.jsonl", rows)
    with pytest.raises(HarnessError, match=message):
        read_rows(Source(file="rows.jsonl", columns=Columns(score="score")), PAIR, tmp_path)
    with pytest.raises(HarnessError, match="no row has the column sore"):
        read_rows(Source(file="rows.jsonl", columns=Columns(score="sore")), PAIR, tmp_path)


@pytest.mark.parametrize("lora", [{"rank": 2}, None])
def test_weight_0_is_plain_training(
    lora: Any,
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
) -> None:
    """To the bit; a weight above 0 is another run, and says its loss and its share."""
    write_jsonl("rows.jsonl", pairs(40))
    weights = {}
    for name, section in (("plain", None), ("zero", {"weight": 0}), ("some", {"weight": 0.5})):
        content: dict[str, Any] = {} if section is None else {"imitation": section}
        config = write_config(
            f"{name}.yml",
            model="some/base",
            data=[{"file": "rows.jsonl"}],
            lora=lora,
            training={"batch_size": 4, "learning_rate": 1e-2, "evaluations": 1},
            validation={"share": 0.25},
            **content,
        )
        out = tmp_path / name
        result = run("reward", config, "-o", out, "--model", language_model)
        assert result.exit_code == 0, result.output
        file = "adapter_model.safetensors" if lora else "model.safetensors"
        weights[name] = (out / file).read_bytes()
        curves = json.loads((out / "figures.json").read_text())["curves"]
        assert ("training imitation loss" in curves) == (name == "some")
        assert ("validation imitation loss" in curves) == (name == "some")
    assert weights["plain"] == weights["zero"] != weights["some"]


def test_a_head_that_was_there_is_kept_to_the_bit(
    tmp_path: Path, reward_model: Path, write_jsonl: Write
) -> None:
    """In bfloat16, too: its digits are read from the file again."""
    import torch
    from transformers import AutoModelForSequenceClassification

    write_jsonl("rows.jsonl", pairs(12))
    config = Config(model="m", data=[Source(file="rows.jsonl")])
    training = RewardTraining(config, tmp_path, str(reward_model), "bfloat16")
    stored = AutoModelForSequenceClassification.from_pretrained(reward_model, dtype=torch.float32)
    model = training.load()
    assert model.score.weight.dtype == torch.float32
    assert torch.equal(model.score.weight, stored.score.weight)
    assert next(model.model.parameters()).dtype == torch.bfloat16


def test_a_reward_model_without_a_language_head_can_not_imitate(
    tmp_path: Path, reward_model: Path, write_jsonl: Write
) -> None:
    """Its head would be random."""
    write_jsonl("rows.jsonl", pairs(12))
    with pytest.raises(HarnessError, match=r"is no language model: it holds no lm_head.weight"):
        made(tmp_path, reward_model, imitation=Imitation(weight=0.1))


@pytest.mark.parametrize("lora", [{"rank": 2}, None])
def test_a_killed_run_goes_on_with_both_heads(
    lora: Any,
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends like an unbroken one, the language model's head included, which is trained too."""
    from safetensors.torch import load_file

    write_jsonl("rows.jsonl", pairs(40))
    config = write_config(
        model="some/base",
        data=[{"file": "rows.jsonl"}],
        lora=lora,
        imitation={"weight": 0.5},
        training={"batch_size": 4, "learning_rate": 1e-2, "evaluations": 1, "checkpoints": 2},
        validation={"share": 0.25},
    )
    arguments = ["reward", config, "--model", language_model, "-o"]
    assert run(*arguments, tmp_path / "whole").exit_code == 0

    def killed(*_: Any) -> Any:
        raise RuntimeError("killed")

    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(RewardTraining, "save", killed)
        run(*arguments, out)
    last = max((out / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name[11:]))
    shutil.rmtree(last)
    result = run(*arguments, out)
    assert result.exit_code == 0 and "going on from checkpoint-" in result.output
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    one, other = load_file(out / name), load_file(tmp_path / "whole" / name)
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert tensor.float().sub(other[key].float()).abs().max() <= 1e-6, key
    if lora is None:
        before = load_file(language_model / "model.safetensors")["lm_head.weight"]
        assert not one["lm_head.weight"].equal(before)


def test_the_section_is_refused_where_it_has_no_effect(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path]
) -> None:
    config = write_config(
        model="m", data=[{"generator": "sums", "rows": 20}], imitation={"weight": 0.1}
    )
    result = run("sft", config, "-o", tmp_path / "out", "--model", language_model)
    assert result.exit_code == 1 and "`imitation` has no effect here" in result.output


def test_a_section_without_a_weight_is_refused(
    tmp_path: Path, write_config: Callable[..., Path]
) -> None:
    """Its other keys would do nothing."""
    config = write_config(
        model="m", data=[{"generator": "sums", "rows": 20}], imitation={"threshold": 0.5}
    )
    result = run("reward", config, "-o", tmp_path / "out")
    assert result.exit_code == 1 and "`imitation` has no `weight`" in result.output


def test_a_term_without_rows_is_in_no_gradient() -> None:
    import torch

    term = ImitationTerm(None, 0.1)  # type: ignore[arg-type]
    states = torch.zeros(4, 3, 2, requires_grad=True)
    loss, _ = term.loss(states, {IMITATED: torch.full((2, 3), -100)})
    assert float(loss) == 0 and not loss.requires_grad
