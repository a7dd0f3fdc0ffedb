# SPDX-License-Identifier: Apache-2.0
"""Labels of preference pairs that need not be 1: smoothed, or moved to what the model says.

Of a pair with the label y, the share of people who would choose the chosen answer, the loss is
-y log sigmoid(d) - (1 - y) log sigmoid(-d), d = chosen reward - rejected reward - margin.

Iterative data smoothing (Zhu, Jordan, Jiao, arXiv 2401.16335): after each epoch
y <- (1 - rate) y + rate sigmoid(d), by the model as it then is.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dogerm_plugin.files.atomic import write_text
from harness.errors import HarnessError

FILE = "soft_labels.json"
INDEX = "index"


class SoftLabels:
    """The labels of all training pairs, by epoch; they are kept in a file of the run.

    Args:
        pairs: where each stands, file and row.
        smoothing: the label of each pair is 1 - smoothing to begin with.
        rate: of the updates.
        file: read if it is there: a killed run goes on with its labels.
        writes: keep them there; of several processes, which all have the same, one does.

    Attributes:
        by_epoch: the labels that each epoch was or is trained on.

    Raises:
        HarnessError: the file is damaged.
    """

    def __init__(
        self,
        pairs: Sequence[str],
        smoothing: float,
        rate: float,
        file: Path,
        writes: bool = True,
    ) -> None:
        self.rate = rate
        self.by_epoch = [[1.0 - smoothing] * len(pairs)]
        self._pairs = list(pairs)
        self._file = file
        self._writes = writes
        if file.exists():
            try:
                self.by_epoch = json.loads(file.read_text("utf-8"))["labels"]
            except (ValueError, TypeError, KeyError) as error:
                raise HarnessError(
                    f"{file} is damaged: remove its folder to start again"
                ) from error

    def updated(self, differences: Sequence[float]) -> None:
        """Add the next epoch's labels.

        Args:
            differences: d of each pair, by the model as it is.
        """
        from scipy.special import expit

        said = expit(differences).tolist()
        pairs = zip(self.by_epoch[-1], said, strict=True)
        self.by_epoch.append([(1 - self.rate) * y + self.rate * p for y, p in pairs])
        if self._writes:
            content = {"pairs": self._pairs, "labels": self.by_epoch}
            write_text(self._file, json.dumps(content))

    def figures(self) -> list[dict[str, float]]:
        """Of each epoch: the mean label, and the share of pairs that are turned round."""
        return [
            {
                "label": statistics.fmean(labels),
                "turned": statistics.fmean(label < 0.5 for label in labels),
            }
            for labels in self.by_epoch
        ]


def _numbered(collate: Any) -> Any:
    """Batches of that collator, with the rows' numbers; validation rows have none."""
    import torch

    def numbered(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {**collate(rows), INDEX: torch.tensor([row.get(INDEX, -1) for row in rows])}

    return numbered


def with_soft_labels(trainer_class: Any, labels: SoftLabels) -> Any:
    """A trainer of rewards that reads `labels`; rows have their number as `INDEX`.

    Beside `accuracy`, by the labels of the data, it logs `soft_accuracy`, by those it trains on.
    Validation goes by the labels of the data alone.

    Args:
        trainer_class: TRL's RewardTrainer, or a kind of it.
        labels: to begin with, and of all further epochs.
    """
    import torch
    from transformers import TrainerCallback

    from harness.training.rewards import head_scores

    class Update(TrainerCallback):
        """At the start of an epoch, which comes again, with its labels, in a run that goes on."""

        def __init__(self, trainer: Any) -> None:
            self.trainer = trainer

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            epoch = int(state.epoch or 0)
            if labels.rate and epoch == len(labels.by_epoch):
                labels.updated(self.trainer.differences())
            self.trainer.now = torch.tensor(labels.by_epoch[epoch if labels.rate else 0])

    class WithSoftLabels(trainer_class):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.data_collator: Any = _numbered(self.data_collator)
            self.now = torch.tensor(labels.by_epoch[0])
            self.add_callback(Update(self))

        def differences(self) -> list[float]:
            """Chosen reward - rejected reward - margin of all training pairs; heads by their mean.

            With the margin, as in the loss: else labels would move where the loss is at its least.
            """
            rows = self.train_dataset
            size, pad = self.args.per_device_train_batch_size, self.processing_class.pad_token_id
            training = self.model.training
            sides = [
                [
                    statistics.fmean(heads)
                    for heads in head_scores(self.model, list(rows[name]), pad, size)
                ]
                for name in ("chosen_ids", "rejected_ids")
            ]
            self.model.train(training)
            there = "margin" in rows.column_names
            margins = list(rows["margin"]) if there else [0.0] * len(rows)
            return [one - other - m for one, other, m in zip(*sides, margins, strict=True)]

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            inputs = dict(inputs)
            index = inputs.pop(INDEX)
            label = self.now.to(index.device)[index] if self.model.training else None
            self.believed = label  # by the terms beside the rewards' loss, too
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            if label is not None:
                chosen, rejected = outputs.logits.chunk(2)
                apart = (chosen - rejected).mean(-1)
                if "margin" in inputs:
                    apart = apart - inputs["margin"]
                # -y log s(d) - (1 - y) log s(-d) = -log s(d) + (1 - y) d, the first being TRL's
                loss = loss + ((1 - label) * apart).mean()
                right = ((apart > 0) == (label > 0.5)).float().mean()
                self._metrics["train"]["soft_accuracy"].append(float(right))
            return (loss, outputs) if return_outputs else loss

    return WithSoftLabels
