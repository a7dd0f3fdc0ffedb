"""`dogerm train gates`: the routers and the head of a sparse reward model, on preference pairs.

Everything else stays as it is: the experts keep what they know, and the routers learn whom to ask.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from harness.training import folder as runs
from harness.training.config import Config
from harness.training.figures import pair_figures
from harness.training.gather import Part, by_length
from harness.training.machine import settle
from harness.training.reward import gather_pairs, score, score_in_fp32, trained_ids
from harness.training.routing import Shares, draw_shares, load_balance, recorded
from harness.training.trainer import (
    finish,
    load_model,
    load_tokenizer,
    train,
    trainer_arguments,
)
from harness.training.whole_model import open_sparse, save_whole


def train_gates(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save the whole model; return the figures.

    Raises:
        HarnessError: no sparse reward model, or see the message.
        MergeError: the model's files can't be read.
    """
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, set_seed
    from trl import RewardConfig

    config.refuse("lora", "gates are trained as they are, and nothing else is")
    config.refuse("heads", "a mixture keeps the head that it has")
    dtype = settle(config.training.dtype)
    source = model_folder or config.model
    stored = open_sparse(source)
    tokenizer = load_tokenizer(source, may_pad_with_end=True)
    tokenizer.pad_token_id = stored.pad  # the reward is read before it, whatever the tokenizer says
    training, validation = gather_pairs(config, tokenizer, source, data_folder)
    ids = [row for part in training for row in part.ids]
    made_with = runs.made_with(__name__, trained_ids(ids)) | {"dtype": dtype} | stored.identity
    checkpoint = runs.claim(output, config.as_dict(), made_with, runs.WHOLE_MODEL)
    set_seed(config.training.seed)
    model = load_model(AutoModelForSequenceClassification, source, dtype)
    score_in_fp32(model)
    trained = stored.trained(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
        if name in trained:
            parameter.data = parameter.data.float()
    before, shares_before = _validate(model, validation, tokenizer, config.training.batch_size)
    arguments = trainer_arguments(config, runs.checkpoints(output), len(ids), dtype)
    trainer = _trainer(config.gates.balance)(
        model=model,
        args=RewardConfig(
            center_rewards_coefficient=config.training.center_rewards,
            remove_unused_columns=False,  # the sampler wants `length`
            **arguments,
        ),
        train_dataset=Dataset.from_list(ids),
        eval_dataset=Dataset.from_list(by_length(validation)),
        processing_class=tokenizer,
    )
    with recorded(model) as trainer.routing:
        seconds = train(trainer, checkpoint)
    values = stored.rounded({name: model.get_parameter(name) for name in trained})
    for name, value in values.items():  # what is measured is what is saved
        model.get_parameter(name).data = value.to(model.device).float()
    after, shares = _validate(model, validation, tokenizer, config.training.batch_size)
    figures = {
        "kind": "gates",
        "parameters": stored.parameters,
        "trained": sum(value.numel() for value in values.values()),
        "experts": stored.experts,
        "shares": {name: one.overall for name, one in shares.items()},
        "shares_by_layer": {name: one.by_layer for name, one in shares.items()},
        "shares_before": {name: one.overall for name, one in shares_before.items()},
        "training_tokens": sum(len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in ids),
        "seconds": round(seconds),  # of this process: a resumed run counts from the checkpoint
        "validation_before": before,
        "validation": after,
    }
    draw_shares(output / "shares.png", stored.experts, figures["shares_before"], figures["shares"])
    save = functools.partial(save_whole, stored, values, output)
    return finish(trainer, config, output, training, figures, save)


def _trainer(coefficient: float) -> Any:
    """TRL's trainer with the load-balancing term, which its class of models does not return.

    Its checkpoints hold what is trained alone: the rest would be the whole model each time.
    """
    from safetensors.torch import save_file
    from trl import RewardTrainer

    class GateTrainer(RewardTrainer):
        routing: Any = None

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            balance = load_balance(self.routing)
            mode = "train" if model.training else "eval"
            self._metrics[mode]["balance"].append(float(balance.detach()))
            if mode == "train":
                loss = loss + coefficient * balance
            return (loss, outputs) if return_outputs else loss

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            folder = Path(str(output_dir or self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            network: Any = self.model
            named = network.named_parameters()
            own = {n: p.detach().cpu().contiguous() for n, p in named if p.requires_grad}
            save_file(own, folder / "model.safetensors", metadata={"format": "pt"})

        def _issue_warnings_after_load(self, load_result: Any) -> None:
            """The tensors that a checkpoint lacks are those that do not change."""

    return GateTrainer


def _validate(
    model: Any, validation: list[Part], tokenizer: Any, batch_size: int
) -> tuple[dict[str, Any], dict[str, Shares]]:
    """Accuracy, and each expert's share of the tokens, of all rows and by source of data."""
    pad = tokenizer.pad_token_id
    figures: dict[str, Any] = {"all": None}
    shares: dict[str, Shares] = {}
    rows: list[Any] = []
    every: tuple[list[float], list[float]] = ([], [])
    with recorded(model) as routing:
        for part in validation:
            if not part.rows:
                continue
            shares[part.name] = counted = Shares()
            count = functools.partial(counted.add, routing)
            rewards = [
                score(model, [row[key] for row in part.ids], pad, batch_size, after=count)
                for key in ("chosen_ids", "rejected_ids")
            ]
            figures[part.name] = pair_figures(part.rows, *rewards)
            rows += part.rows
            for together, own in zip(every, rewards, strict=True):
                together += own
    figures["all"] = pair_figures(rows, *every)
    return figures, shares
