"""A head of one number is a reward, whatever number of labels config.json says."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.models.load.test_completeness import reward
from tests.harness.models.test_reward import by_transformers, rewards, some_pairs

Save = Callable[..., Path]
TWO = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}


def configure(folder: Path, **changes: Any) -> None:
    """Change config.json, without the labels that it has."""
    file = folder / "config.json"
    kept = {k: v for k, v in json.loads(file.read_text()).items() if k not in TWO}
    file.write_text(json.dumps(kept | changes))


@pytest.mark.parametrize("said", [{}, TWO], ids=["nothing", "two"])
def test_transformers_own_class(
    said: dict[str, Any], save_reward_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_reward_model()
    expected = by_transformers(folder, some_pairs(3))
    configure(folder, **said)
    with caplog.at_level(logging.WARNING):
        model = reward(folder)
    assert rewards(model, some_pairs(3)) == pytest.approx(expected, abs=1e-5)
    lines = [line for line in caplog.text.splitlines() if "num_labels=2" in line]
    assert len(lines) == 1 and "its head gives one number" in lines[0]


@pytest.mark.parametrize("name", ["RewardModel", "LlamaForRewardModel"])
def test_a_trainers_class(name: str, save_reward_model: Save) -> None:
    """OpenRLHF's, or another that transformers doesn't know."""
    folder = save_reward_model()
    expected = by_transformers(folder, some_pairs(3))
    configure(folder, architectures=[name], value_head_prefix="score")
    assert rewards(reward(folder), some_pairs(3)) == pytest.approx(expected, abs=1e-5)


def test_a_trainers_class_reads_the_last_token(save_reward_model: Save, tokenizer: Any) -> None:
    """Also where that is the pad token, which transformers' own class skips."""
    import torch
    from transformers import AutoModelForSequenceClassification

    last = tokenizer.convert_tokens_to_ids(tokenizer.tokenize("\n"))[-1]
    folder = save_reward_model(pad_token_id=last)
    own = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for prompt, response in some_pairs(1):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        assert ids[-1] == last
        with torch.no_grad():
            states = own.model(torch.tensor([ids])).last_hidden_state
            expected.append(float(own.score(states)[0, -1, 0]))
    skipping = rewards(reward(folder), some_pairs(1))
    configure(folder, architectures=["RewardModel"])
    assert rewards(reward(folder), some_pairs(1)) == pytest.approx(expected, abs=1e-5)
    assert skipping != pytest.approx(expected, abs=1e-2)


def test_a_head_of_two_numbers_is_refused(save_reward_model: Save) -> None:
    folder = save_reward_model(num_labels=2)
    configure(folder)
    with pytest.raises(HarnessError, match="num_labels=2"):
        reward(folder)


def test_normalized_rewards_are_said(
    save_reward_model: Save, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenRLHF's own class subtracts a mean: the order is the same, the numbers are not."""
    folder = save_reward_model()
    configure(folder, architectures=["RewardModel"], normalize_reward=True, mean=1.0, std=2.0)
    with caplog.at_level(logging.WARNING):
        reward(folder)
    assert caplog.text.count("normalize_reward") == 1
