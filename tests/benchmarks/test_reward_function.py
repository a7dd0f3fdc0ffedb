# SPDX-License-Identifier: Apache-2.0
"""Rewards in a training loop, beside TRL's own way with the same checkpoint."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import SmolLM2
from tests.benchmarks.measure import alternate
from tests.benchmarks.rows import Item, read, spread
from tests.benchmarks.scoring import FLOAT32, SECTION
from tests.benchmarks.table import Figures

COMPLETIONS, PROMPTS = 8, 2  # of a prompt; of a step
RUNS = 3
NAME = "bon_humaneval"  # 16 candidates a question


def step(items: Sequence[Item]) -> tuple[list[Any], list[Any]]:
    """A step's prompts and completions, as messages: each prompt once for each completion."""
    whole = [
        messages
        for item in spread([one for one in items if len(one.responses) >= COMPLETIONS], PROMPTS)
        for messages in item.conversations[:COMPLETIONS]
    ]
    return [messages[:-1] for messages in whole], [messages[-1:] for messages in whole]


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
    prompts, completions = step(read(data, NAME))
    assert ours(prompts, completions) == pytest.approx(peer(prompts, completions), abs=1e-3)
    pairs = alternate(
        lambda: ours(prompts, completions),
        lambda: peer(prompts, completions),
        RUNS,
        time.process_time,
        warm_up=False,  # the comparison was one
    ).swapped
    lengths = [
        statistics.mean(len(ours.model.tokenizer(one[-1]["content"]).input_ids) for one in texts)
        for texts in (prompts, completions)
    ]
    table.add(
        SECTION,
        f"{NAME}: completions per second of CPU time, {COMPLETIONS} a prompt | TRL with the path",
        pairs.ratio,
        2.0,
        "at least",
        "×",
        f"a step of {PROMPTS} prompts, {RUNS} times; {lengths[0]:.0f} tokens a prompt, "
        f"{lengths[1]:.0f} a completion",
        pairs=pairs,
        dtype=FLOAT32,
    )
