"""`dogerm train gates`: the routers and the head of a sparse reward model, on preference pairs.

Everything else stays as it is: the experts keep what they know, and the routers learn whom to ask.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

from harness.training.config import Config
from harness.training.figures import pair_figures
from harness.training.gather import Part
from harness.training.reward import RewardTraining, gather_pairs
from harness.training.rewards import score, score_in_fp32
from harness.training.routing import Shares, draw_shares, load_balance, recorded
from harness.training.run import Ids, run
from harness.training.trainer import load_model, load_tokenizer
from harness.training.whole_model import open_sparse, save_whole


def train_gates(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save the whole model; see `run`.

    Raises:
        HarnessError: no sparse reward model, or see the message.
        MergeError: the model's files can't be read.
    """
    return run(GateTraining, config, output, data_folder, model_folder)


class GateTraining(RewardTraining):
    """The routers and the head of a sparse reward model."""

    kind = "gates"
    without: ClassVar = {
        "lora": "gates are trained as they are, and nothing else is",
        "policy": "a mixture has no language model's head",
        "imitation": "a mixture's trunk is not trained",
        "heads": "a mixture keeps the head that it has",
        "aspects": "gates are trained on pairs",
        "labels": "gates are trained on the labels of the data",
    }
    whole = True

    def gather(self) -> tuple[list[Part], list[Part]]:
        """Pairs as token ids."""
        self.stored = open_sparse(self.source)
        self.tokenizer = load_tokenizer(self.source, may_pad_with_end=True)
        # the reward is read before it, whatever the tokenizer says
        self.tokenizer.pad_token_id = self.stored.pad
        return gather_pairs(self.config, self.tokenizer, self.source, self.data_folder)

    def identity(self) -> dict[str, str]:
        """The mixture's weights."""
        return self.stored.identity

    def load(self) -> Any:
        """The mixture, of which only gates and head have gradients."""
        from transformers import AutoModelForSequenceClassification

        model = load_model(AutoModelForSequenceClassification, self.source, self.dtype)
        score_in_fp32(model)
        self.trained = self.stored.trained(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in self.trained)
            if name in self.trained:
                parameter.data = parameter.data.float()
        return model

    def trainer_class(self, output: Path) -> Any:
        """With the load-balancing term."""
        return _trainer(self.config.gates.balance)

    def fit(self, trainer: Any, checkpoint: Path | None) -> float:
        """Validate, train, and round what was trained to what will be saved."""
        self.before, self.shares_before = self._validate(trainer.model)
        with recorded(trainer.model) as trainer.routing:
            seconds = super().fit(trainer, checkpoint)
        model = trainer.model
        self.values = self.stored.rounded(
            {name: model.get_parameter(name) for name in self.trained}
        )
        for name, value in self.values.items():  # what is measured is what is saved
            model.get_parameter(name).data = value.to(model.device).float()
        return seconds

    def figures(self, trainer: Any, ids: Ids, output: Path) -> dict[str, Any]:
        """Accuracy and the experts' shares, before and after, with the picture of the shares."""
        after, shares = self._validate(trainer.model)
        before = self.shares_before
        told = {name: one.overall for name, one in shares.items()}
        told_before = {name: one.overall for name, one in before.items()}
        draw_shares(output / "shares.png", self.stored.experts, told_before, told)
        return {
            "parameters": self.stored.parameters,
            "trained": sum(value.numel() for value in self.values.values()),
            "experts": self.stored.experts,
            "shares": told,
            "shares_by_layer": {name: one.by_layer for name, one in shares.items()},
            "shares_before": told_before,
            "training_tokens": sum(len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in ids),
            "validation_before": self.before,
            "validation": after,
        }

    def save(self, trainer: Any, output: Path) -> int:
        """The mixture with its trained tensors replaced."""
        return save_whole(self.stored, self.values, output)

    def _validate(self, model: Any) -> tuple[dict[str, Any], dict[str, Shares]]:
        size = self.config.training.batch_size
        return _validate(model, self.validation, self.tokenizer, size)


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
