"""`dogerm train reward`: a reward model out of preference pairs (Bradley-Terry loss, TRL)."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import HarnessError
from harness.models.load import stored_head
from harness.training.config import Config
from harness.training.figures import pair_figures, part_figures
from harness.training.gather import Part, by_length, gather
from harness.training.imitation import IMITATED, ImitationTerm, imitation_labels
from harness.training.language_head import put_beside
from harness.training.order import ordered
from harness.training.processes import Processes
from harness.training.rewards import head_scores, score_in_fp32, start_at_zero
from harness.training.row_check import RowCheck
from harness.training.rows import PAIR
from harness.training.run import Ids, Training, run
from harness.training.several_heads import put_on, trainer_of_several
from harness.training.shared_prefix import share_prefix
from harness.training.shared_prompt import share_prompts
from harness.training.soft_labels import FILE as LABELS
from harness.training.soft_labels import INDEX, SoftLabels, with_soft_labels
from harness.training.terms import Term, with_terms
from harness.training.tokens import answer_ids, conversation_ids, require_chat_template
from harness.training.trainer import (
    keep_dropout,
    load_model,
    load_tokenizer,
    lora_settings,
    save_model,
)
from harness.training.turns import parse_turns

if TYPE_CHECKING:
    from harness.training.language_head import LanguageHead


def train_reward(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save a reward model, on pairs or on `aspects`; see `run`."""
    from harness.training.aspects import AspectTraining  # a kind of what is here

    kind = AspectTraining if config.aspects.columns else RewardTraining
    return run(kind, config, output, data_folder, model_folder)


class RewardTraining(Training):
    """A reward model by the Bradley-Terry loss.

    Rewards are `AutoModelForSequenceClassification(...)(**inputs).logits` of the conversation as
    the tokenizer's chat template renders it; the same ids are trained on (TRL is given token ids,
    because given text it would tokenize by rules of its own). Of several heads, validation takes
    the mean.
    """

    kind = "reward"
    without: ClassVar = {
        "gates": "a dense model has none",
        "policy": "`dogerm train hybrid` alone has that loss",
    }
    language_head: LanguageHead | None = None
    labels: SoftLabels | None = None

    def __init__(self, config: Config, data_folder: Path, source: str, dtype: str) -> None:
        super().__init__(config, data_folder, source, dtype)
        self.terms: list[Term] = []

    @property
    def heads(self) -> int:
        """How many it has."""
        return self.config.heads

    def gather(self) -> tuple[list[Part], list[Part]]:
        """Pairs as token ids."""
        self.tokenizer = load_tokenizer(self.source, may_pad_with_end=False)
        return gather_pairs(self.config, self.tokenizer, self.source, self.data_folder)

    def learned(self, ids: Ids) -> list[list[Any]]:
        """Both conversations, the margin, and what is imitated."""
        return trained_ids(ids)

    def load(self) -> Any:
        """The model with a head that starts at random, or, to the bit, the head that it has."""
        from transformers import AutoModelForSequenceClassification

        dtype = "float32" if self.whole else self.dtype
        model = load_model(AutoModelForSequenceClassification, self.source, dtype, num_labels=1)
        if not hasattr(model, "score"):
            name = type(model).__name__
            raise HarnessError(f"{self.source}: {name} has no linear head named `score`")
        stored_head.restore(model, self.source, {})
        if self.heads > 1:
            put_on(model, self.heads, self.config.training.seed)
        score_in_fp32(model)
        if self.config.training.head == "zero":
            start_at_zero(model.score, self.heads)
        self.extend(model)
        self.trunk = getattr(model, model.base_model_prefix)
        share_prefix(model)
        share_prompts(model)
        return model

    def extend(self, model: Any) -> None:
        """Put more on the model's trunk than the reward head; what it learns goes to `terms`."""
        if weight := self.config.imitation.weight:
            self.terms.append(ImitationTerm(self.beside(model), weight))

    def beside(self, model: Any) -> LanguageHead:
        """The language model's head, put beside the reward's; an adapter's run leaves it frozen.

        Raises:
            HarnessError: several processes would train a head that torch's DDP does not see used.
        """
        if self.language_head is None:
            dtype = "float32" if self.whole else self.dtype
            head = self.language_head = put_beside(model, self.source, dtype, trained=self.whole)
            if self.whole and not head.tied and Processes().count > 1:
                raise HarnessError(
                    f"{self.source}: `lora: null` trains {head.name}, which is apart from the "
                    "embedding, and several processes can't share that: start one, or train an "
                    "adapter"
                )
        return self.language_head

    def trainer_class(self, output: Path) -> Any:
        """TRL's RewardTrainer, or a kind of it."""
        from trl import RewardTrainer

        plain = trainer_of_several() if self.config.heads > 1 else RewardTrainer
        if self.terms:
            plain = with_terms(plain, self.terms, self.trunk)
        wanted = self.config.labels
        if not wanted.smoothing and not wanted.rate:
            return plain
        first, pairs = Processes().first, [one for part in self.training for one in part.places()]
        self.labels = SoftLabels(pairs, wanted.smoothing, wanted.rate, output / LABELS, first)
        return with_soft_labels(plain, self.labels)

    def trainer(self, model: Any, arguments: dict[str, Any], ids: Ids, output: Path) -> Any:
        """TRL's."""
        from datasets import Dataset
        from trl import RewardConfig

        lengths = [row["length"] for row in ids]
        lora = None if self.whole else self.config.lora
        made = ordered(self.trainer_class(output), lengths)(
            model=model,
            args=RewardConfig(
                center_rewards_coefficient=self.config.training.center_rewards,
                remove_unused_columns=False,  # the sampler wants `length`
                **arguments,
            ),
            train_dataset=Dataset.from_list([{**row, INDEX: n} for n, row in enumerate(ids)]),
            eval_dataset=Dataset.from_list(by_length(self.validation)),
            processing_class=self.tokenizer,
            peft_config=lora_settings(lora, model, "SEQ_CLS"),
        )
        keep_dropout(made.model, lora)
        return made

    def figures(self, trainer: Any, ids: Ids, output: Path) -> dict[str, Any]:
        """Accuracy on the validation pairs."""
        size = self.config.training.batch_size
        soft = {"labels": self.labels.figures()} if self.labels else {}
        return {
            **soft,
            "training_tokens": sum(len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in ids),
            "validation": _validate(trainer.model, self.validation, self.tokenizer, size),
        }

    def save(self, trainer: Any, output: Path) -> int:
        """A whole model says how many heads it has, and of what kinds."""
        trainer.model.config.num_labels = self.config.heads
        if self.whole:
            tokenizer = trainer.processing_class
            return save_model(trainer.model, tokenizer, output, self.language_head)
        return super().save(trainer, output)


def gather_pairs(
    config: Config, tokenizer: Any, source: str, data_folder: Path, *, labels: bool = False
) -> tuple[list[Part], list[Part]]:
    """Training and validation pairs as token ids: `chosen_ids`, `rejected_ids`.

    Where the config asks for them also `margin`, and the labels of the chosen ids for imitation.

    Args:
        config: of the run.
        tokenizer: with a chat template.
        source: the model, for messages.
        data_folder: relative file names start here.
        labels: add `chosen_labels` and `rejected_labels`, the answers' tokens; see `answer_ids`.

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
        for side in PAIR[1:] if labels else ():
            made[f"{side}_labels"] = answer_ids(tokenizer, turns, row[side])[1]
        if margins:
            made["margin"] = float(row.get("margin", 0.0))
        if config.imitation.weight:
            made[IMITATED] = imitation_labels(config.imitation, tokenizer, turns, row)
        return {**made, "length": max(len(chosen), len(rejected))}

    parts = gather(config, PAIR, data_folder, lambda row: shown.encode(row, encode))
    shown.tell()
    return parts


def trained_ids(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """All that is learned of each pair, as one list."""
    return [
        row["chosen_ids"]
        + row["rejected_ids"]
        + ([row["margin"]] if "margin" in row else [])
        + row.get(IMITATED, [])
        for row in rows
    ]


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
    figures = part_figures(validation, chosen, rejected)
    heads = [zip(*rewards, strict=True) for rewards in of_heads]
    each = [pair_figures(rows, *pair)["accuracy"] for pair in zip(*heads, strict=True)]
    if len(each) > 1:
        figures["all"]["accuracy_by_head"] = each
    return figures
