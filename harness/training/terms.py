# SPDX-License-Identifier: Apache-2.0
"""Further losses beside a reward model's own, from the same forward: what TRL's trainer lacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from harness.training.language_head import captured

Ids = dict[str, Any]
BELIEVED = "believed"


class Term(ABC):
    """A loss that is added to the reward model's.

    Attributes:
        name: `<name>_loss` is logged.
        columns: what it reads of a batch; the rewards' forward does not see them.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    @abstractmethod
    def collate(self, rows: Sequence[Ids], length: int) -> dict[str, Any]:
        """Its columns of a batch: tensors, padded to `length` on the right, chosen rows first."""

    @abstractmethod
    def weight(self, progress: float) -> float:
        """What it counts, by the share of all steps that is done."""

    @abstractmethod
    def loss(self, states: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, float]]:
        """The loss, and what else is logged.

        Args:
            states: the trunk's, [2 x pairs, length, hidden size]; chosen rows first.
            batch: with its columns, and under `BELIEVED` the pairs' labels, [pairs], where they
                are not all 1 (`harness.training.soft_labels`), else None.
        """


def with_terms(trainer_class: Any, terms: Sequence[Term], trunk: Any) -> Any:
    """A trainer of rewards whose loss has further terms.

    A term whose weight is 0 from end to end is not computed while it trains, so that the run is
    the plain one to the bit.

    Args:
        trainer_class: TRL's RewardTrainer, or a kind of it.
        terms: to be added.
        trunk: of the model; its forward is looked at.
    """
    from trl.trainer.reward_trainer import DataCollatorForPreference

    class Collator(DataCollatorForPreference):
        def torch_call(self, examples: list[Ids]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            for term in terms:
                batch |= term.collate(examples, batch["input_ids"].shape[1])
            return batch

    class WithTerms(trainer_class):
        believed: Any = None  # labels of a batch's pairs

        def __init__(self, **settings: Any) -> None:
            pad = settings["processing_class"].pad_token_id
            super().__init__(data_collator=Collator(pad_token_id=pad), **settings)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            own = {name: inputs[name] for term in terms for name in term.columns}
            plain = {name: value for name, value in inputs.items() if name not in own}
            batch = {**own, "input_ids": inputs["input_ids"]}
            batch |= {"attention_mask": inputs["attention_mask"], BELIEVED: self.believed}
            mode = "train" if self.model.training else "eval"
            progress = self.state.global_step / max(1, self.state.max_steps)
            with captured(trunk) as seen:
                loss, outputs = super().compute_loss(model, plain, True, num_items_in_batch)
            states = seen[-1]
            self._note(mode, "reward_loss", float(loss.detach()))
            for term in terms:
                weight = term.weight(progress)
                if mode == "train" and not weight:
                    continue
                value, logged = term.loss(states, batch)
                loss = loss + weight * value
                logged = {f"{term.name}_loss": float(value.detach()), **logged}
                for name, number in logged.items():
                    self._note(mode, name, number)
            return (loss, outputs) if return_outputs else loss

        def _note(self, mode: str, name: str, number: float) -> None:
            """Log the mean over all processes."""
            import torch

            mine = torch.tensor(number, device=self.accelerator.device)
            self._metrics[mode][name].append(self.accelerator.reduce(mine, "mean").item())

    return WithTerms
