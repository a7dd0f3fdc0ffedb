# SPDX-License-Identifier: Apache-2.0
"""log π(response | conversation) of a causal language model, in batches, exactly.

Rows are padded on the right, where no token of a causal model looks, so padding changes nothing
but the longest position in the batch, which some RoPE types look at (`harness.models.score.rope`:
there, rows share a batch only where it does not matter). The rest is tried on two short rows when
the model is loaded, and a model that padding does change gets rows of equal length only. Logits are
computed from the first response token of the batch on (where the model class takes
``logits_to_keep``), and softmax runs in float32, row by row: with a vocabulary of 150,000 tokens
the logits are what fills the memory.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from harness.models.load.head import without_adapter_wrapper
from harness.models.score.encoder import Encoded
from harness.models.score.own_forward import autocast
from harness.models.score.rope import Rope

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# How far a padded row may be off in the trial, relative to its log-probability: rounding is far
# below, a wrong position or a state that padding has touched is far above.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
_TOLERANCE_HALF = 0.05


class ResponseLogProbs:
    """Sums of the response tokens' log-probabilities.

    Args:
        model: a causal language model, PEFT-wrapped or not, in eval mode.
        device: where the ids go; a dispatched model moves them on by itself.
        autocast: dtype for autocast (lm-eval's ``mixed_precision_dtype``), or None.

    Attributes:
        pads: rows of unlike length may share a batch, as far as the model's RoPE lets them.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, *, autocast: torch.dtype | None = None
    ) -> None:
        self.model = model
        self.device = device
        self.autocast = autocast
        inner = without_adapter_wrapper(model)
        self._takes = set(inspect.signature(inner.forward).parameters)
        self.rope = Rope(model)
        self.pads = True
        self.pads = self._padding_is_exact(int(inner.config.get_text_config().vocab_size))

    def __call__(self, rows: Sequence[Encoded]) -> list[float]:
        """Σ log π(token | tokens before it) over each row's tokens from its ``start`` on."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row.ids)] = torch.tensor(row.ids)
            mask[index, : len(row.ids)] = 1
        # The logits at a position are for the next token.
        first = min(row.start for row in rows) - 1
        offered = {
            "attention_mask": mask.to(self.device),
            "use_cache": False,
            "logits_to_keep": longest - first,
        }
        options = {name: value for name, value in offered.items() if name in self._takes}
        self.rope.reset()
        with torch.inference_mode(), autocast(self.device, self.autocast):
            logits = self.model(input_ids=ids.to(self.device), **options).logits
            # Counted from the end: prompt tuning puts virtual tokens in front.
            shift = logits.shape[1] - longest
            return [
                self._sum(logits[index, row.start - 1 + shift : len(row.ids) - 1 + shift], row)
                for index, row in enumerate(rows)
            ]

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one batch."""
        return length == other or (self.pads and self.rope.may_share_batch(length, other))

    @staticmethod
    def _sum(logits: torch.Tensor, row: Encoded) -> float:
        """The log-probability of a row's response, by its logits [response tokens, vocabulary]."""
        tokens = torch.tensor(row.ids[row.start :], device=logits.device)
        losses = functional.cross_entropy(logits.float(), tokens, reduction="none")
        return -float(losses.cpu().double().sum())

    def _padding_is_exact(self, vocab_size: int) -> bool:
        long = Encoded([(7919 * index + 13) % vocab_size for index in range(11)], False, 4)
        short = Encoded([(104729 * index + 7) % vocab_size for index in range(6)], False, 2)
        alone, padded = self([short])[0], self([long, short])[1]
        dtype: Any = self.autocast or next(self.model.parameters()).dtype
        if abs(alone - padded) <= _TOLERANCE.get(dtype, _TOLERANCE_HALF) * max(1.0, abs(alone)):
            return True
        logger.warning(
            "%s: padding changes its likelihoods; batching rows of equal length only",
            type(self.model).__name__,
        )
        return False
