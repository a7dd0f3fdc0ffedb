"""`dogerm train sft`: a language model out of prompts and responses (TRL)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from harness.training.config import Config
from harness.training.gather import Part, by_length, gather
from harness.training.order import ordered
from harness.training.row_check import RowCheck
from harness.training.rows import ANSWERED
from harness.training.run import Ids, Training, run
from harness.training.shared_prefix import share_prefix
from harness.training.tokens import answer_ids, require_chat_template
from harness.training.trainer import load_model, load_tokenizer, lora_settings
from harness.training.turns import parse_turns


def train_sft(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save a language model; see `run`."""
    return run(SftTraining, config, output, data_folder, model_folder)


class SftTraining(Training):
    """A language model by the cross-entropy of the responses.

    Only the response's tokens (and the token that ends its turn) are learned. TRL's trainer
    computes the logits of those alone, which matters with a vocabulary of 49,152.
    """

    kind = "sft"
    without: ClassVar = {
        "gates": "a dense model has none",
        "policy": "a language model is trained on answers, and not on pairs",
        "imitation": "all that is learned is imitation",
        "heads": "a language model has no reward heads",
        "aspects": "a language model has no reward heads",
        "labels": "a language model learns no pairs",
        "training.center_rewards": "a language model has no rewards",
        "training.head": "a language model has no reward heads",
    }

    def gather(self) -> tuple[list[Part], list[Part]]:
        """Conversations as token ids with labels."""
        tokenizer = self.tokenizer = load_tokenizer(self.source, may_pad_with_end=True)
        require_chat_template(tokenizer, self.source)
        shown = RowCheck(tokenizer, ANSWERED[1:])

        def encode(row: dict[str, Any]) -> dict[str, Any]:
            ids, labels = answer_ids(tokenizer, parse_turns(row["prompt"]), row["response"])
            return {"input_ids": ids, "labels": labels, "length": len(ids)}

        parts = gather(
            self.config, ANSWERED, self.data_folder, lambda row: shown.encode(row, encode)
        )
        shown.tell()
        return parts

    def learned(self, ids: Ids) -> list[list[Any]]:
        """Conversation and labels."""
        return [row["input_ids"] + row["labels"] for row in ids]

    def load(self) -> Any:
        """The language model."""
        from transformers import AutoModelForCausalLM

        dtype = "float32" if self.whole else self.dtype
        model = load_model(AutoModelForCausalLM, self.source, dtype)
        share_prefix(model)
        return model

    def trainer(self, model: Any, arguments: dict[str, Any], ids: Ids, output: Path) -> Any:
        """TRL's."""
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        return ordered(SFTTrainer, [row["length"] for row in ids])(
            model=model,
            args=SFTConfig(
                dataset_kwargs={"skip_prepare_dataset": True},
                # not by evaluate(): several processes would then train without sharing gradients
                eval_on_start=True,
                **arguments,
            ),
            train_dataset=Dataset.from_list(ids),
            eval_dataset=Dataset.from_list(by_length(self.validation)),
            processing_class=self.tokenizer,
            peft_config=lora_settings(self.config.lora, model, "CAUSAL_LM"),
        )

    def fit(self, trainer: Any, checkpoint: Path | None) -> float:
        """Train, and validate, which all processes do together."""
        seconds = super().fit(trainer, checkpoint)
        self.after = trainer.evaluate()
        return seconds

    def figures(self, trainer: Any, ids: Ids, output: Path) -> dict[str, Any]:
        """The loss on the validation rows, before and after."""
        after = self.after
        history = trainer.state.log_history
        return {
            "training_tokens": sum(row["length"] for row in ids),
            "validation": {
                "rows": sum(len(part.rows) for part in self.validation),
                "loss_before": next(one["eval_loss"] for one in history if "eval_loss" in one),
                "loss": after["eval_loss"],
                "token_accuracy": after.get("eval_mean_token_accuracy"),
            },
        }
