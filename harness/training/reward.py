"""`dogerm train reward`: a reward model out of preference pairs (Bradley-Terry loss, TRL)."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.training import folder as runs
from harness.training.config import Config
from harness.training.figures import pair_figures
from harness.training.gather import Part, by_length, gather
from harness.training.machine import settle
from harness.training.row_check import RowCheck
from harness.training.rows import PAIR
from harness.training.several_heads import put_on, trainer_of_several
from harness.training.shared_prefix import share_prefix
from harness.training.tokens import conversation_ids, require_chat_template
from harness.training.trainer import (
    finish,
    load_model,
    load_tokenizer,
    lora_settings,
    train,
    trainer_arguments,
)
from harness.training.turns import parse_turns


def train_reward(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save an adapter with its head; return the figures.

    Rewards are `AutoModelForSequenceClassification(...)(**inputs).logits` of the conversation as
    the tokenizer's chat template renders it; the same ids are trained on (TRL is given token ids,
    because given text it would tokenize by rules of its own). Of several heads, validation takes
    the mean.

    Raises:
        HarnessError: see the message.
    """
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, set_seed
    from trl import RewardConfig, RewardTrainer

    config.refuse("gates", "a dense model has none")
    dtype = settle(config.training.dtype)
    source = model_folder or config.model
    tokenizer = load_tokenizer(source, may_pad_with_end=False)
    training, validation = gather_pairs(config, tokenizer, source, data_folder)
    ids = [row for part in training for row in part.ids]
    made_with = runs.made_with(__name__, trained_ids(ids)) | {"dtype": dtype}
    made_with |= runs.of_model(source)
    checkpoint = runs.claim(output, config.as_dict(), made_with)
    set_seed(config.training.seed)  # the head starts at random
    model = load_model(AutoModelForSequenceClassification, source, dtype, num_labels=1)
    if not hasattr(model, "score"):
        raise HarnessError(f"{source}: {type(model).__name__} has no linear head named `score`")
    several = config.heads > 1
    if several:
        put_on(model, config.heads, config.training.seed)
    score_in_fp32(model)
    share_prefix(model)
    arguments = trainer_arguments(config, runs.checkpoints(output), len(ids), dtype)
    trainer = (trainer_of_several() if several else RewardTrainer)(
        model=model,
        args=RewardConfig(
            center_rewards_coefficient=config.training.center_rewards,
            remove_unused_columns=False,  # the sampler wants `length`
            **arguments,
        ),
        train_dataset=Dataset.from_list(ids),
        eval_dataset=Dataset.from_list(by_length(validation)),
        processing_class=tokenizer,
        peft_config=lora_settings(config.lora, model, "SEQ_CLS"),
    )
    seconds = train(trainer, checkpoint)
    figures = {
        "kind": "reward",
        "training_tokens": sum(len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in ids),
        "seconds": round(seconds),  # of this process: a resumed run counts from the checkpoint
        "validation": _validate(trainer.model, validation, tokenizer, config.training.batch_size),
    }
    return finish(trainer, config, output, training, figures)


def gather_pairs(
    config: Config, tokenizer: Any, source: str, data_folder: Path
) -> tuple[list[Part], list[Part]]:
    """Training and validation pairs as token ids: `chosen_ids`, `rejected_ids`, maybe `margin`.

    Raises:
        HarnessError: no chat template, or bad data; see `gather`.
    """
    require_chat_template(tokenizer, source)
    shown = RowCheck(tokenizer, PAIR[1:])
    margins = any(part.columns.margin for part in (*config.data, *config.validation.data))

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        turns = parse_turns(row["prompt"])
        chosen = conversation_ids(tokenizer, turns, row["chosen"])
        rejected = conversation_ids(tokenizer, turns, row["rejected"])
        made: dict[str, Any] = {"chosen_ids": chosen, "rejected_ids": rejected}
        if margins:
            made["margin"] = float(row.get("margin", 0.0))
        return {**made, "length": max(len(chosen), len(rejected))}

    parts = gather(config, PAIR, data_folder, lambda row: shown.encode(row, encode))
    shown.tell()
    return parts


def trained_ids(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """All that is learned of each pair, as one list."""
    return [
        row["chosen_ids"] + row["rejected_ids"] + ([row["margin"]] if "margin" in row else [])
        for row in rows
    ]


def score_in_fp32(model: Any) -> None:
    """Give `model` a head that computes in fp32: rounded to bf16, rewards would often tie."""
    import torch

    class Fp32Linear(torch.nn.Linear):
        def forward(self, states: Any) -> Any:
            with torch.autocast(states.device.type, enabled=False):
                return torch.nn.functional.linear(states.float(), self.weight.float(), self.bias)

    old = model.score
    head = Fp32Linear(old.in_features, old.out_features, bias=old.bias is not None)
    head.load_state_dict({name: t.float() for name, t in old.state_dict().items()})
    model.score = head.to(old.weight.device)


def _validate(
    model: Any, validation: list[Part], tokenizer: Any, batch_size: int
) -> dict[str, Any]:
    rows = [row for part in validation for row in part.rows]
    ids = [row for part in validation for row in part.ids]
    pad = tokenizer.pad_token_id
    of_heads = [
        head_scores(model, [row[name] for row in ids], pad, batch_size)
        for name in ("chosen_ids", "rejected_ids")
    ]
    chosen, rejected = ([statistics.fmean(row) for row in rewards] for rewards in of_heads)
    figures: dict[str, Any] = {"all": pair_figures(rows, chosen, rejected)}
    heads = [zip(*rewards, strict=True) for rewards in of_heads]
    each = [pair_figures(rows, *pair)["accuracy"] for pair in zip(*heads, strict=True)]
    if len(each) > 1:
        figures["all"]["accuracy_by_head"] = each
    start = 0
    for part in validation:
        end = start + len(part.rows)
        if part.rows:
            figures[part.name] = pair_figures(part.rows, chosen[start:end], rejected[start:end])
        start = end
    return figures


def head_scores(
    model: Any,
    sequences: list[list[int]],
    pad: int,
    batch_size: int,
    after: Callable[[], None] = lambda: None,
) -> list[list[float]]:
    """The rewards of each token sequence by every head, in the body's arithmetic with an fp32 head.

    `after` is called after each batch.
    """
    import torch

    rewards: list[list[float]] = [[]] * len(sequences)
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    model.eval()
    device, dtype = (body := next(model.parameters())).device, body.dtype
    for start in range(0, len(order), batch_size):
        at = order[start : start + batch_size]
        batch = [torch.tensor(sequences[i]) for i in at]
        inputs = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(ids) for ids in batch])
        mask = torch.arange(inputs.shape[1])[None] < lengths[:, None]
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
        with torch.no_grad(), mixed:
            logits = model(input_ids=inputs.to(device), attention_mask=mask.to(device)).logits
        after()
        for i, row in zip(at, logits.tolist(), strict=True):
            rewards[i] = row
    return rewards


def score(
    model: Any,
    sequences: list[list[int]],
    pad: int,
    batch_size: int,
    after: Callable[[], None] = lambda: None,
) -> list[float]:
    """The reward of each token sequence by a model of one head; see `head_scores`."""
    return [reward for (reward,) in head_scores(model, sequences, pad, batch_size, after)]
