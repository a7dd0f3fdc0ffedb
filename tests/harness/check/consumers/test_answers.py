"""`dogerm doctor --model`: who takes a model, and why not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from harness.check.consumers.config_needs import key, nothing, reads
from harness.check.consumers.consumer import Consumer, State, ask
from harness.check.consumers.declared import CONSUMERS, consumer
from harness.check.consumers.export import export
from harness.check.consumers.head_needs import head_named, no_bias, one_reward
from harness.check.consumers.stored import read_reward
from harness.commands.doctor import doctor
from tests.harness.check.consumers.conftest import Save
from tests.harness.check.consumers.loaded import config


def states(folder: Path) -> dict[str, State]:
    model = read_reward(folder)
    return {one.name: ask(one, model).state for one in CONSUMERS}


def told(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(doctor, ["--model", str(folder)])
    return done.exit_code, done.output


def test_an_ordinary_reward_model(save: Save) -> None:
    """Taken as it is, but for vLLM's sigmoid."""
    model = save()
    assert states(model) == {
        "transformers": State.YES,
        "trl": State.YES,
        "vllm": State.EXPORT,
        "sglang": State.YES,
        "openrlhf": State.YES,
        "verl": State.EXPORT,
        "nemo-rl": State.YES,
    }
    status, text = told(model)
    assert status == 0
    assert f"dogerm export --for vllm {model} -o {model}-vllm\n" in text
    assert f"vllm serve {model}-vllm --runner pooling\n" in text
    assert "vLLM gives sigmoid(reward)" in text
    assert f"sglang serve --model-path {model} --is-embedding" in text


def test_several_heads(save: Save) -> None:
    """Nobody's reward, and the way to one of them."""
    model = save(num_labels=3)
    assert set(states(model).values()) == {State.NO}
    assert "the head gives 3 numbers: `dogerm train export --aspect NAME`" in told(model)[1]


def test_a_bias(value_head: Path) -> None:
    """For whom it is lost, kept or a mean."""
    assert states(value_head) == {
        "transformers": State.NO,
        "trl": State.NO,
        "vllm": State.EXPORT,
        "sglang": State.NO,
        "openrlhf": State.EXPORT,
        "verl": State.EXPORT,
        "nemo-rl": State.NO,
    }


def test_servers_without_a_class(save: Save) -> None:
    """SGLang's general class gives no reward; what vLLM's gives is not checked."""
    assert states(save("Mistral"))["sglang"] is State.NO
    assert states(save("Helium", head_dim=8))["vllm"] is State.UNKNOWN


def test_a_chat_that_ends_in_padding(save: Save, tokenizer: object) -> None:
    """transformers reads the token before it, servers would read it."""
    last = tokenizer("a\n")["input_ids"][-1]  # type: ignore[operator]
    model = save(pad_token_id=last)
    answer = ask(consumer("sglang"), read_reward(model))
    assert answer.state is State.CARE
    assert r"a chat ends in '\n', pad_token_id, and the reward belongs to" in answer.why
    answer = ask(consumer("transformers"), read_reward(model))
    assert answer.state is State.CARE
    assert "the tokenizer pads with '<pad>': the shorter rows of a batch" in answer.why


@pytest.mark.parametrize("name", ["transformers", "nemo-rl"])
def test_rows_padded_with_another_token(name: str, save: Save, tmp_path: Path) -> None:
    """The class looks for one and the tokenizer pads with another: a copy has one."""
    model = save(pad_token_id=7)
    answer = ask(consumer(name), read_reward(model))
    assert answer.state is State.EXPORT
    assert "the shorter rows of a batch would be read at their padding" in answer.why
    after, _ = export(consumer(name), model, tmp_path / "out")
    assert after.state is State.YES
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")
    kind = AutoModelForSequenceClassification
    loaded = kind.from_pretrained(tmp_path / "out").eval()
    rows = tokens(["A short one.", "Paris is the capital of France."], padding=True)
    batch = {key: torch.tensor(value) for key, value in rows.items()}
    alone = tokens(["A short one."], return_tensors="pt")
    with torch.no_grad():
        assert float(loaded(**batch).logits[0]) == pytest.approx(
            float(loaded(**alone).logits[0]), abs=1e-5
        )


def test_what_nemo_rl_puts_around_a_chat(save: Save, tokenizer: Any) -> None:
    """An EOS that the template has not is where it reads the reward, unless that is padding."""
    model = save()
    tokenizer.save_pretrained(model)  # whose chats end in no </s>
    answer = ask(consumer("nemo-rl"), read_reward(model))
    assert answer.state is State.NO
    assert "puts '</s>' behind a chat, which the chat template does not" in answer.why
    assert ask(consumer("vllm"), read_reward(model)).state is State.EXPORT
    own = copy.deepcopy(tokenizer)
    own.pad_token = own.eos_token
    model = save(pad_token_id=own.eos_token_id)
    own.save_pretrained(model)
    assert ask(consumer("nemo-rl"), read_reward(model)).state is State.YES
    own.chat_template = own.chat_template.replace("{{ bos_token }}", "")
    own.save_pretrained(model)
    answer = ask(consumer("nemo-rl"), read_reward(model))
    assert answer.state is State.CARE
    assert "puts '<s>' before a chat" in answer.why


def test_a_language_model(language_model: Path) -> None:
    """It has no head: one line."""
    status, text = told(language_model)
    assert status == 1
    assert "has no reward head" in text
    assert len(text.splitlines()) == 1


def test_an_adapter_alone(tmp_path: Path) -> None:
    """Its base is asked for."""
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "b"}', "utf-8")
    status, text = told(tmp_path)
    assert status == 1
    assert "is an adapter (of b)" in text


@pytest.mark.parametrize("one", CONSUMERS, ids=lambda one: one.name)
def test_a_declaration_is_whole(one: Consumer) -> None:
    """Its source is named, and its command names the model."""
    assert one.source
    assert "/m" in one.command.format(model="/m")
    assert one.needs[0] is one_reward


def test_an_eighth(save: Save, tmp_path: Path) -> None:
    """A declaration is enough for the answer and the copy."""
    eighth = Consumer(
        "eighth",
        "Eighth 1.0",
        "its loader",
        (
            one_reward,
            head_named,
            no_bias,
            key("reads", "score", "config.json has no reads: score, and it goes by that"),
            reads(nothing),
        ),
        "eighth {model}",
        "the number that it prints",
    )
    model = save()
    assert ask(eighth, read_reward(model)).state is State.EXPORT
    assert export(eighth, model, tmp_path / "out")[0].state is State.YES
    assert config(tmp_path / "out")["reads"] == "score"
