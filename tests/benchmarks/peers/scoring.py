# SPDX-License-Identifier: Apache-2.0
"""Rewards as others compute them: transformers' own forward, tokens and padding as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.benchmarks.rows import Item


class Plain:
    """A reward model and its tokenizer, as transformers loads them."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=getattr(torch, dtype), num_labels=1
        ).eval()

    def alone(self, items: Sequence[Item]) -> list[float]:
        """The reward of every conversation by itself, unpadded."""
        return [
            reward
            for item in items
            for messages in item.conversations
            for reward in self._rewards([messages])
        ]

    def two_passes(self, items: Sequence[Item], batch: int = 8) -> list[float]:
        """Chosen, then rejected, as RewardBench's runner does for a sequence classifier.

        Rows in their order, padded to the longest of a batch, nothing truncated.
        """
        passes = []
        for side in (0, 1):
            rows = [item.conversations[side] for item in items]
            chunks = [rows[at : at + batch] for at in range(0, len(rows), batch)]
            passes.append([reward for chunk in chunks for reward in self._rewards(chunk)])
        return [reward for pair in zip(*passes, strict=True) for reward in pair]

    def _rewards(self, conversations: Sequence[Any]) -> list[float]:
        texts = self.tokenizer.apply_chat_template(list(conversations), tokenize=False)
        inputs = self.tokenizer(
            texts,
            padding="longest",
            truncation=False,
            add_special_tokens=False,  # the template has written them
            return_tensors="pt",
        )
        with torch.inference_mode():
            return [float(value) for value in self.model(**inputs).logits.squeeze(-1)]

    @property
    def linears(self) -> list[torch.nn.Linear]:
        """The body's matrices, layer by layer."""
        body = self.model.base_model
        return [module for module in body.modules() if isinstance(module, torch.nn.Linear)]

    def products(self, tokens: Sequence[int]) -> Callable[[], None]:
        """Nothing but the body's matrix products, for batches of so many tokens.

        The weights are the model's own, each layer's its own, so that a cache holds no more of
        them than it does in the model.
        """
        weights = [linear.weight.detach() for linear in self.linears]
        widths = {weight.shape[1] for weight in weights}
        inputs = {
            (width, rows): torch.randn(rows, width, dtype=weights[0].dtype)
            for width in widths
            for rows in set(tokens)
        }

        def run() -> None:
            with torch.inference_mode():
                for rows in tokens:
                    for weight in weights:
                        torch.nn.functional.linear(inputs[weight.shape[1], rows], weight)

        return run
