# SPDX-License-Identifier: Apache-2.0
"""`dogerm train reward` on numbers in place of pairs: a regression head for each column.

    {"prompt": "...", "response": "...", "helpfulness": 3, "correctness": 4, "coherence": 4}

The form of HelpSteer (arXiv 2311.09528). The loss is the mean over rows and heads of
(head - z)^2, z the column less its mean in units of its deviation, both over the rows that are
trained on: columns of unlike spread then weigh the same in the trunk, and a linear head, which has
no bias, need not find the mean. What undoes it is kept (`harness.models.load.aspects`).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from dogerm_plugin.files.atomic import write_text
from harness.errors import HarnessError
from harness.models.load.aspects import FILE, Aspect, as_text, declare
from harness.training.adapter import save_adapter
from harness.training.aspect_figures import figures_of
from harness.training.config import Config
from harness.training.gather import Part, by_length, gather
from harness.training.order import ordered
from harness.training.reward import RewardTraining
from harness.training.rewards import head_scores
from harness.training.row_check import RowCheck
from harness.training.rows import ANSWERED, ASPECTS, read_rows
from harness.training.run import Ids
from harness.training.tokens import conversation_ids, require_chat_template
from harness.training.trainer import load_tokenizer, lora_settings, save_model
from harness.training.turns import parse_turns


class AspectTraining(RewardTraining):
    """A reward model whose heads predict numbers.

    Attributes:
        aspects: of the heads, in the config's order; known when rows are gathered.
    """

    kind = "aspects"
    without: ClassVar = {
        "gates": "a dense model has none",
        "policy": "that loss compares two answers, and `aspects` reads one",
        "imitation": "`aspects` reads answers that are bad, too",
        "labels": "`aspects` has no pairs",
        "heads": "each column of `aspects` has one",
    }
    aspects: tuple[Aspect, ...] = ()

    def __init__(self, config: Config, data_folder: Path, source: str, dtype: str) -> None:
        super().__init__(config, data_folder, source, dtype)
        if config.training.center_rewards is not None:
            raise HarnessError("`center_rewards` needs pairs, and `aspects` has none: leave it out")

    @property
    def heads(self) -> int:
        """One for each column."""
        return len(self.config.aspects.columns)

    def gather(self) -> tuple[list[Part], list[Part]]:
        """Conversations as token ids, with a standardised number for each column."""
        tokenizer = self.tokenizer = load_tokenizer(self.source, may_pad_with_end=False)
        require_chat_template(tokenizer, self.source)
        shown = RowCheck(tokenizer, ANSWERED[1:])

        def encode(row: dict[str, Any]) -> dict[str, Any]:
            ids = conversation_ids(tokenizer, parse_turns(row["prompt"]), row["response"])
            return {"input_ids": ids, ASPECTS: row[ASPECTS], "length": len(ids)}

        training, validation = gather(
            self.config,
            ANSWERED,
            self.data_folder,
            lambda row: shown.encode(row, encode),
            partial(read_rows, numbers=self.config.aspects.columns),
        )
        shown.tell()
        self.aspects = self._measured([row for part in training for row in part.rows])
        for part in (*training, *validation):
            for row in part.ids:
                pairs = zip(self.aspects, row[ASPECTS], strict=True)
                row[ASPECTS] = [(value - one.mean) / one.std for one, value in pairs]
        return training, validation

    def _measured(self, rows: Sequence[dict[str, Any]]) -> tuple[Aspect, ...]:
        wanted, made = self.config.aspects, []
        columns = zip(*(row[ASPECTS] for row in rows), strict=True)
        for name, values in zip(wanted.columns, columns, strict=True):
            std = statistics.pstdev(values)
            if not std:
                raise HarnessError(
                    f"column {name} is {values[0]:g} in all {len(values)} rows that are trained "
                    "on, so there is nothing to learn: leave it out of `aspects`"
                )
            weight = float(wanted.weights.get(name, 1.0))
            made.append(Aspect(name, statistics.fmean(values), std, weight))
        return tuple(made)

    def learned(self, ids: Ids) -> list[list[Any]]:
        """Conversation and numbers."""
        return [row["input_ids"] + row[ASPECTS] for row in ids]

    def trainer(self, model: Any, arguments: dict[str, Any], ids: Ids, output: Path) -> Any:
        """Transformers' own, with the mean squared error."""
        from datasets import Dataset
        from peft import get_peft_model
        from transformers import TrainingArguments

        del arguments["max_length"]  # TRL's alone
        lora = lora_settings(None if self.whole else self.config.lora, model, "SEQ_CLS")
        return ordered(_trainer_class(self.tokenizer.pad_token_id), [r["length"] for r in ids])(
            model=model if lora is None else get_peft_model(model, lora),
            args=TrainingArguments(
                remove_unused_columns=False,  # the sampler wants `length`
                label_names=[ASPECTS],
                prediction_loss_only=True,
                **arguments,
            ),
            train_dataset=Dataset.from_list(ids),
            eval_dataset=Dataset.from_list(by_length(self.validation)),
            processing_class=self.tokenizer,
        )

    def figures(self, trainer: Any, ids: Ids, output: Path) -> dict[str, Any]:
        """How near the heads come, and the accuracy of their weighted sum."""
        pad, size = self.tokenizer.pad_token_id, self.config.training.batch_size
        said = [
            head_scores(trainer.model, [row["input_ids"] for row in part.ids], pad, size)
            for part in self.validation
        ]
        return {
            "training_tokens": sum(row["length"] for row in ids),
            "aspects": [vars(one) for one in self.aspects],
            "validation": figures_of(self.validation, said, self.aspects),
        }

    def save(self, trainer: Any, output: Path) -> int:
        """The checkpoint or the adapter, with what its heads are."""
        declare(trainer.model.config, self.aspects)
        if self.whole:
            return save_model(trainer.model, trainer.processing_class, output)
        write_text(output / FILE, as_text(self.aspects))
        return save_adapter(trainer.model, self.config.model, output)


def _trainer_class(pad: int) -> Any:
    import torch
    from transformers import Trainer

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [torch.tensor(row["input_ids"]) for row in rows]
        length = max(map(len, ids))
        padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(row) for row in ids])
        mask = (torch.arange(length)[None] < lengths[:, None]).long()
        numbers = torch.tensor([row[ASPECTS] for row in rows])
        return {"input_ids": padded, "attention_mask": mask, ASPECTS: numbers}

    class Regression(Trainer):
        def __init__(self, **settings: Any) -> None:
            super().__init__(data_collator=collate, **settings)
            self.model_accepts_loss_kwargs = False  # the loss is a mean over the batch's rows

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            plain = {name: value for name, value in inputs.items() if name != ASPECTS}
            outputs = model(**plain)
            loss = torch.nn.functional.mse_loss(outputs.logits.float(), inputs[ASPECTS].float())
            return (loss, outputs) if return_outputs else loss

    return Regression
