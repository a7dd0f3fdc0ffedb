"""A tiny reward model, by transformers alone, and runs of lm-eval with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Turns = str | list[dict[str, str]]
Rewards = Callable[[Turns, str], float]


@pytest.fixture(scope="session")
def rewards(reward_model: Path) -> Rewards:
    """The reward of a response to a prompt, as transformers gives it for the conversation alone."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(reward_model)
    model = AutoModelForSequenceClassification.from_pretrained(reward_model).eval()

    def reward(prompt: Turns, response: str) -> float:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        messages = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
        inputs = tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": response}],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            return float(model(**inputs).logits)

    return reward


@pytest.fixture
def evaluated(tasks: Callable[..., Any], reward_model: Path) -> Callable[..., Any]:
    """lm-eval's results of the tiny reward model, and how many conversations it was given."""

    def evaluate(folder: Path, *names: str) -> tuple[dict[str, Any], int]:
        import lm_eval

        from harness.models.reward import Reward

        model = Reward(str(reward_model), device="cpu", batch_size=8)
        results = lm_eval.simple_evaluate(
            model, tasks=[*names], task_manager=tasks(data_dir=folder), bootstrap_iters=0
        )
        return results, model.scored_rows

    return evaluate
