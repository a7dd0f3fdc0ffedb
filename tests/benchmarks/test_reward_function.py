# SPDX-License-Identifier: Apache-2.0
"""Rewards in a training loop, beside TRL's own way with the same checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import SmolLM2
from tests.benchmarks.measure import alternate
from tests.benchmarks.rows import Item, Tokens, encode, read, spread
from tests.benchmarks.scoring import FLOAT32, SECTION
from tests.benchmarks.table import Figures

COMPLETIONS, PROMPTS = 8, 2  # of a prompt; of a step
RUNS = 3
NAME = "bon_humaneval"  # 16 candidates a question


def step(items: Sequence[Item]) -> list[Item]:
    """The questions of a step, each with completions that differ: equal ones we score once."""
    distinct = [Item(item.prompt, list(dict.fromkeys(item.responses))) for item in items]
    many = [item for item in distinct if len(item.responses) >= COMPLETIONS]
    return [Item(one.prompt, one.responses[:COMPLETIONS]) for one in spread(many, PROMPTS)]


class Trl:
    """What GRPOTrainer._calculate_rewards does with a checkpoint that is given by its path."""

    def __init__(self, folder: Any) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype="float32"
        ).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id

    def __call__(self, prompts: Any, completions: Any) -> list[float]:
        import torch
        from trl.data_utils import apply_chat_template

        messages = [{"messages": p + c} for p, c in zip(prompts, completions, strict=True)]
        texts = [apply_chat_template(one, self.tokenizer)["text"] for one in messages]
        inputs = self.tokenizer(
            text=texts,
            return_tensors="pt",
            padding=True,
            padding_side="right",
            add_special_tokens=False,
        )
        with torch.inference_mode():
            rewards: list[float] = self.model(**inputs).logits[:, 0].tolist()
        return rewards


def test_eight_completions_a_prompt(smollm2: SmolLM2, data: Path, table: Figures) -> None:
    """Completions a second, in CPU time: other work does not disturb it."""
    from harness.rewards import RewardFunction

    # float32, which every processor has
    ours = RewardFunction(smollm2.reward, dtype=FLOAT32, device="cpu")
    peer = Trl(smollm2.reward)
    items = step(read(data, NAME))
    whole = [messages for item in items for messages in item.conversations]
    prompts, completions = [one[:-1] for one in whole], [one[-1:] for one in whole]
    assert ours(prompts, completions) == pytest.approx(peer(prompts, completions), abs=1e-3)
    pairs = alternate(
        lambda: ours(prompts, completions),
        lambda: peer(prompts, completions),
        RUNS,
        time.process_time,
        warm_up=False,  # the comparison was one
    ).swapped
    tokens = Tokens.of(items, peer.tokenizer)
    longest = len(whole) * max(len(ids) for item in encode(items, peer.tokenizer) for ids in item)
    table.add(
        SECTION,
        f"{NAME}: completions per second of CPU time, {COMPLETIONS} a prompt | TRL with the path",
        pairs.ratio,
        2.0,
        "at least",
        "×",
        f"a step of {PROMPTS} prompts, {RUNS} times, all completions different; {longest} tokens "
        f"with TRL's padding, {tokens.real} without, {tokens.shared} with each prompt once",
        pairs=pairs,
        dtype=FLOAT32,
    )
