# SPDX-License-Identifier: Apache-2.0
"""`dogerm train hybrid`: a reward model that stays a language model (HaF-RM, arXiv 2407.04185).

One trunk, two heads, one forward: see `harness.training.policy` for the loss.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import click

from harness.training.config import Config
from harness.training.figures import part_figures
from harness.training.gather import Part
from harness.training.policy import AnswerLogProbs, PolicyTerm, answers_of, give_reference
from harness.training.processes import Processes
from harness.training.reference import reference_log_probs
from harness.training.reward import RewardTraining, gather_pairs, trained_ids
from harness.training.run import Ids, run
from harness.training.trainer import load_tokenizer

_TOLD = ("accuracy", "accuracy_stderr", "matched_accuracy", "matched_accuracy_stderr")


def train_hybrid(
    config: Config, output: Path, data_folder: Path, model_folder: str | None = None
) -> dict[str, Any]:
    """Train, validate and save a reward model with a policy's loss; see `run`."""
    return run(HybridTraining, config, output, data_folder, model_folder)


class HybridTraining(RewardTraining):
    """A reward model by the Bradley-Terry loss and the policy's.

    With an adapter the language model's head is frozen; where all weights are trained it is, too.
    Where alpha is 0 the run is that of `dogerm train reward`, to the bit, and the policy is only
    looked at in validation.
    """

    kind = "hybrid"
    without: ClassVar = {
        "gates": "a dense model has none",
        "aspects": "both losses compare two answers",
    }

    def gather(self) -> tuple[list[Part], list[Part]]:
        """Pairs as token ids, with the answers' labels."""
        self.tokenizer = load_tokenizer(self.source, may_pad_with_end=False)
        return gather_pairs(self.config, self.tokenizer, self.source, self.data_folder, labels=True)

    def learned(self, ids: Ids) -> list[list[Any]]:
        """Both conversations with their labels, and the margin."""
        labels = [row["chosen_labels"] + row["rejected_labels"] for row in ids]
        return [one + other for one, other in zip(trained_ids(ids), labels, strict=True)]

    def extend(self, model: Any) -> None:
        """Put the language model's head beside the reward's."""
        super().extend(model)
        head = self.beside(model)
        trunk = getattr(model, model.base_model_prefix)
        pad, size = self.tokenizer.pad_token_id, self.config.training.batch_size
        self.log_probs = AnswerLogProbs(trunk, head, pad, size, self.dtype)
        self.terms.append(PolicyTerm(self.config.policy, head))

    def trainer(self, model: Any, arguments: dict[str, Any], ids: Ids, output: Path) -> Any:
        """TRL's, on rows that say what the reference gives their answers."""
        wanted = self.config.policy
        held_out = [row for part in self.validation for row in part.ids]
        rows = [*ids, *held_out] if wanted.alpha else held_out
        answers = answers_of(rows)
        give_reference(ids, [math.nan] * (2 * len(ids)))  # where alpha is 0, nothing reads it
        if wanted.reference == "none":
            click.echo("no reference: the policy's loss takes log pi_ref for 0", err=True)
            give_reference(rows, [0.0] * len(answers))
        else:
            processes = Processes()
            before = next(model.parameters()).device

            def known() -> list[float]:
                model.to(processes.device)  # the trainer does so only when it begins
                sums = reference_log_probs(self.log_probs, answers, output)
                model.to(before)
                return sums

            give_reference(rows, processes.first_alone(known, known))  # the others read
        return super().trainer(model, arguments, ids, output)

    def figures(self, trainer: Any, ids: Ids, output: Path) -> dict[str, Any]:
        """Accuracy on the validation pairs by the reward, and by the implicit reward."""
        made = super().figures(trainer, ids, output)
        ids = [row for part in self.validation for row in part.ids]
        sums = self.log_probs(answers_of(ids))
        shifts = [
            [found - row[f"{side}_reference"] for row, found in zip(ids, some, strict=True)]
            for side, some in (("chosen", sums[: len(ids)]), ("rejected", sums[len(ids) :]))
        ]
        for name, found in part_figures(self.validation, *shifts).items():
            made["validation"][name] |= {f"implicit_{key}": found[key] for key in _TOLD}
        return made
