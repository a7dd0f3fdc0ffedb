"""`dogerm train sft`: a language model out of prompts and responses (TRL)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.training import folder as runs
from harness.training.config import Config
from harness.training.gather import by_length, gather
from harness.training.machine import settle
from harness.training.row_check import RowCheck
from harness.training.rows import ANSWERED
from harness.training.shared_prefix import share_prefix
from harness.training.tokens import answer_ids, require_chat_template
from harness.training.trainer import (
    finish,
    load_model,
    load_tokenizer,
    lora_settings,
    train,
    trainer_arguments,
)
from harness.training.turns import parse_turns


def train_sft(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save an adapter; return the figures.

    Only the response's tokens (and the token that ends its turn) are learned. TRL's trainer
    computes the logits of those alone, which matters with a vocabulary of 49,152.

    Raises:
        HarnessError: see the message.
    """
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, set_seed
    from trl import SFTConfig, SFTTrainer

    config.refuse("gates", "a dense model has none")
    config.refuse("heads", "a language model has no reward heads")
    dtype = settle(config.training.dtype)
    source = model_folder or config.model
    tokenizer = load_tokenizer(source, may_pad_with_end=True)
    require_chat_template(tokenizer, source)

    shown = RowCheck(tokenizer, ANSWERED[1:])

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        ids, labels = answer_ids(tokenizer, parse_turns(row["prompt"]), row["response"])
        return {"input_ids": ids, "labels": labels, "length": len(ids)}

    training, validation = gather(
        config, ANSWERED, data_folder, lambda row: shown.encode(row, encode)
    )
    shown.tell()
    ids = [row for part in training for row in part.ids]
    made_with = runs.made_with(__name__, [r["input_ids"] + r["labels"] for r in ids]) | {
        "dtype": dtype
    }
    made_with |= runs.of_model(source)
    checkpoint = runs.claim(output, config.as_dict(), made_with)
    set_seed(config.training.seed)
    model = load_model(AutoModelForCausalLM, source, dtype)
    share_prefix(model)
    arguments = trainer_arguments(config, runs.checkpoints(output), len(ids), dtype)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, **arguments),
        train_dataset=Dataset.from_list(ids),
        eval_dataset=Dataset.from_list(by_length(validation)),
        processing_class=tokenizer,
        peft_config=lora_settings(config.lora, model, "CAUSAL_LM"),
    )
    # also when going on: the rows' order is drawn after it, and must come out the same again
    before = trainer.evaluate(metric_key_prefix="before")
    seconds = train(trainer, checkpoint)
    after = trainer.evaluate()
    figures = {
        "kind": "sft",
        "training_tokens": sum(row["length"] for row in ids),
        "seconds": round(seconds),  # of this process: a resumed run counts from the checkpoint
        "validation": {
            "rows": sum(len(part.rows) for part in validation),
            "loss_before": before["before_loss"],
            "loss": after["eval_loss"],
            "token_accuracy": after.get("eval_mean_token_accuracy"),
        },
    }
    return finish(trainer, config, output, training, figures)
