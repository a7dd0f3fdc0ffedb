# SPDX-License-Identifier: Apache-2.0
"""A stage that ends in a reward model: rows that were gathered before, and known by its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.training.config import Config
from harness.training.gather import Part
from harness.training.language_head import language_head
from harness.training.reward import RewardTraining
from harness.training.trainer import load_tokenizer


class StageReward(RewardTraining):
    """A reward model's training on given rows.

    Args:
        config: of the run.
        data_folder: not read.
        source: the model to start from; a head that it has is kept.
        dtype: that it computes in.
        start: what tells the start from other models: another one makes another run.
        rows: for training and for validation, with their token ids.
        with_language_head: a stage after this one imitates: keep the head in a whole model.
    """

    def __init__(
        self,
        config: Config,
        data_folder: Path,
        source: str,
        dtype: str,
        *,
        start: str,
        rows: tuple[list[Part], list[Part]],
        with_language_head: bool = False,
    ) -> None:
        super().__init__(config, data_folder, source, dtype)
        self.start = start
        self.rows = rows
        self.with_language_head = with_language_head

    def gather(self) -> tuple[list[Part], list[Part]]:
        """As given."""
        self.tokenizer = load_tokenizer(self.source, may_pad_with_end=False)
        return self.rows

    def identity(self) -> dict[str, str]:
        """The files of the model before it."""
        return {"stage before": self.start}

    def save(self, trainer: Any, output: Path) -> int:
        """An adapter has its base's head; a whole model, the one that it was trained from."""
        if self.whole and self.with_language_head and self.language_head is None:
            self.language_head, _ = language_head(self.source, "float32")
            self.language_head.put_on(trainer.model)
        return super().save(trainer, output)
