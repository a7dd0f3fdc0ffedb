# SPDX-License-Identifier: Apache-2.0
"""The imitation loss: a reward model's trunk goes on to write what was chosen.

Everyone Deserves A Reward (arXiv 2309.03126): L = L_rank + weight * L_LM, with L_LM the mean over
the imitated sequences of the mean cross-entropy of their tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.training.config import Imitation
from harness.training.language_head import IGNORED, LanguageHead
from harness.training.scores import SCORE
from harness.training.terms import Ids, Term
from harness.training.tokens import answer_ids
from harness.training.turns import Turn

IMITATED = "imitated"


def imitation_labels(
    settings: Imitation, tokenizer: Any, turns: list[Turn], row: Mapping[str, Any]
) -> list[int]:
    """What is imitated of a chosen conversation: token ids, -100 elsewhere.

    With `tokens: all` these are the prompt's, the response's and the token that ends its turn; what
    the template writes behind that is not learned, as in `dogerm train sft`.

    Args:
        settings: of the config.
        tokenizer: with a chat template.
        turns: of the prompt.
        row: with ``chosen``, and maybe its ``score``.

    Raises:
        HarnessError: the template renders a prompt otherwise when an answer follows.
    """
    ids, labels = answer_ids(tokenizer, turns, row["chosen"])
    if row.get(SCORE, 1.0) < settings.threshold:
        return [IGNORED] * len(ids)
    if settings.tokens == "all":
        end = max((at for at, label in enumerate(labels, 1) if label != IGNORED), default=0)
        return ids[:end] + labels[end:]
    return labels


class ImitationTerm(Term):
    """The language-modelling loss on the chosen conversations of a batch.

    It is 0 for a batch in which nothing is imitated.
    """

    name = "imitation"
    columns: ClassVar = (IMITATED,)

    def __init__(self, head: LanguageHead, weight: float) -> None:
        self._head = head
        self._weight = weight

    def collate(self, rows: Sequence[Ids], length: int) -> dict[str, Any]:
        """The labels of the chosen rows alone, [pairs, length]."""
        import torch

        labels = [row[IMITATED] + [IGNORED] * (length - len(row[IMITATED])) for row in rows]
        return {IMITATED: torch.tensor(labels)}

    def weight(self, progress: float) -> float:
        """The same all the time."""
        return self._weight

    def loss(self, states: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, float]]:
        """See `Term.loss`; the share of the pairs that is imitated is logged."""
        labels = batch[IMITATED]
        counts = (labels[:, 1:] != IGNORED).sum(dim=1)
        imitated = counts > 0
        logged = {"imitated": float(imitated.float().mean())}
        if not bool(imitated.any()):
            return states.new_zeros(()), logged
        sums = self._head.token_log_probs(states[: len(labels)], labels).sum(dim=1)
        return -(sums[imitated] / counts[imitated]).mean(), logged
