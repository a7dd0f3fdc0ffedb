# SPDX-License-Identifier: Apache-2.0
"""The policy's loss on preference pairs, beside the reward's (HaF-RM, arXiv 2407.04185).

    L = L_reward + alpha L_policy,  L_policy = -log sigmoid(tau (d(chosen) - d(rejected)))

with d = log pi - log pi_ref, summed over the answer's tokens: DPO's sigmoid loss, its beta called
tau. An answer is what `answer_ids` says, up to the token that ends its turn. A pair whose label y
is not 1 has -y log sigmoid(...) - (1 - y) log sigmoid(-...) in its place, as in the rewards' loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.training.batches import padded_batches
from harness.training.config import Policy
from harness.training.language_head import IGNORED
from harness.training.rows import PAIR
from harness.training.terms import BELIEVED, Ids, Term

if TYPE_CHECKING:
    from harness.training.language_head import LanguageHead

Answer = tuple[list[int], list[int]]  # token ids and labels of its conversation
_SIDES = PAIR[1:]


class PolicyTerm(Term):
    """The policy's loss.

    Args:
        settings: of the config.
        head: the language model's.
    """

    name: ClassVar = "policy"
    # `labels` would be counted by transformers' Trainer, which then scales the loss by them
    columns: ClassVar = ("answer_labels", "reference_log_probs")

    def __init__(self, settings: Policy, head: LanguageHead) -> None:
        self.settings = settings
        self.head = head

    def collate(self, rows: Sequence[Ids], length: int) -> dict[str, Any]:
        """Labels [2 x pairs, length], the reference's log-probabilities [2 x pairs]."""
        import torch

        labels = [row[f"{side}_labels"] for side in _SIDES for row in rows]
        padded = [[*one, *[IGNORED] * (length - len(one))] for one in labels]
        reference = [row[f"{side}_reference"] for side in _SIDES for row in rows]
        sums = torch.tensor(reference, dtype=torch.float64)
        return dict(zip(self.columns, (torch.tensor(padded), sums), strict=True))

    def weight(self, progress: float) -> float:
        """Alpha, by its schedule."""
        share = {"constant": 1.0, "increase": progress, "decrease": 1.0 - progress}
        return self.settings.alpha * share[self.settings.schedule]

    def loss(self, states: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, float]]:
        """The mean over the pairs, and the share whose chosen answer has the larger d."""
        from torch.nn.functional import logsigmoid

        labels, reference = (batch[name] for name in self.columns)
        sums = self.head.token_log_probs(states, labels).sum(-1)
        shift = sums - reference.to(sums.dtype)
        chosen, rejected = shift.chunk(2)
        margin = chosen - rejected
        right = (margin > 0).float().mean()
        scaled = self.settings.tau * margin
        loss = -logsigmoid(scaled).mean()
        if (label := batch[BELIEVED]) is not None:
            loss = loss + ((1 - label) * scaled).mean()
        return loss, {"implicit_accuracy": float(right)}


@dataclass(frozen=True)
class AnswerLogProbs:
    """log pi of answers, the sum over each one's tokens, in the arithmetic of training.

    Attributes:
        trunk: of the model.
        head: the language model's.
        pad: the id that fills up.
        batch_size: rows of a batch.
        dtype: that training computes in.
    """

    trunk: Any
    head: LanguageHead
    pad: int
    batch_size: int
    dtype: str

    def __call__(
        self,
        answers: Sequence[Answer],
        done: Callable[[Mapping[int, float]], None] = lambda _: None,
    ) -> list[float]:
        """The sums; `done` is told each batch's by their place in `answers`."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        sums = [math.nan] * len(answers)
        self.trunk.eval()
        device = next(self.trunk.parameters()).device
        ids = [one for one, _ in answers]
        for at, inputs in padded_batches(ids, self.pad, self.batch_size, device):
            labels = [torch.tensor(answers[i][1]) for i in at]
            wanted = pad_sequence(labels, batch_first=True, padding_value=IGNORED).to(device)
            mixed = torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == "bfloat16")
            with torch.no_grad(), mixed:
                states = self.trunk(**inputs)[0]
                found = self.head.token_log_probs(states, wanted).sum(-1).tolist()
            for i, value in zip(at, found, strict=True):
                sums[i] = value
            done(dict(zip(at, found, strict=True)))
        return sums


def answers_of(rows: Sequence[Ids]) -> list[Answer]:
    """Token ids and labels of both answers of each pair: all that are chosen come first."""
    return [(row[f"{side}_ids"], row[f"{side}_labels"]) for side in _SIDES for row in rows]


def give_reference(rows: Sequence[Ids], values: Sequence[float]) -> None:
    """Write log pi_ref into the rows, in the order of `answers_of`."""
    keys = [(row, f"{side}_reference") for side in _SIDES for row in rows]
    for (row, key), value in zip(keys, values, strict=True):
        row[key] = value
