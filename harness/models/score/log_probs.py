# SPDX-License-Identifier: Apache-2.0
"""log π(response | conversation) of a causal language model, in batches, exactly.

Rows that begin alike share that (`harness.models.score.sharing`) where the model allows it. Else
they are padded on the right, where no token of a causal model looks, so padding changes nothing but
the longest position in the batch, which some RoPE types look at (`harness.models.score.rope`:
there, rows share a batch only where it does not matter). The rest is tried on two short rows when
the model is loaded, and a model that padding does change gets rows of equal length only. Logits are
computed for the response tokens alone (in a padded batch from the first one on; where the model
class takes ``logits_to_keep``), and softmax runs in float32, row by row: with a vocabulary of
150,000 tokens the logits are what fills the memory.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from harness.models.load.head import without_adapter_wrapper
from harness.models.score.encoder import Encoded
from harness.models.score.own_forward import autocast
from harness.models.score.rope import Rope
from harness.models.score.sharing import SharedPrefixes
from harness.models.score.tree import Pack

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# How far a padded row may be off in the trial, relative to its log-probability: rounding is far
# below, a wrong position or a state that padding has touched is far above.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
_TOLERANCE_HALF = 0.05

# The same for a token in a pack, relative to how much log-probabilities vary from token to token.
_TOKEN = {torch.float32: 1e-3, torch.float64: 1e-3}
_TOKEN_HALF = 0.1

# From logits [tokens, vocabulary] and the tokens that came, what is kept of each: [tokens, ...].
Read = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def log_probs(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The tokens' log-probabilities [tokens], in float32."""
    return -functional.cross_entropy(logits.float(), tokens, reduction="none")


class Forward:
    """Runs a causal language model; what `harness.models.score.sharing.Runner` asks for.

    Args:
        model: PEFT-wrapped or not, in eval mode.
        device: where the ids go; a dispatched model moves them on by itself.
        autocast: dtype for autocast (lm-eval's ``mixed_precision_dtype``), or None.
    """

    def __init__(
        self, model: nn.Module, device: torch.device, *, autocast: torch.dtype | None = None
    ) -> None:
        self.model = model
        self.device = device
        self.autocast = autocast
        self.body: Any = without_adapter_wrapper(model)
        self.rope = Rope(model)
        self.vocab_size = int(self.body.config.get_text_config().vocab_size)
        self._takes = set(inspect.signature(self.body.forward).parameters)

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in."""
        return self.autocast or next(self.model.parameters()).dtype

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) are rotated alike, apart and together."""
        return self.rope.may_share_batch(length, other)

    def last_logits(self, ids: torch.Tensor, count: int, **inputs: torch.Tensor) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary], those of the last `count` tokens among them."""
        return self._logits(ids, logits_to_keep=count, **inputs)

    def logits_at(
        self, places: Sequence[int], ids: torch.Tensor, **inputs: torch.Tensor
    ) -> torch.Tensor:
        """Logits [places, vocabulary] at places of the one row of `ids`."""
        kept = torch.tensor(places)
        logits = self._logits(ids, logits_to_keep=kept, **inputs)[0]
        return logits if "logits_to_keep" in self._takes else logits[kept]

    def _logits(self, ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
        offered = {"use_cache": False, **inputs}
        options = {name: value for name, value in offered.items() if name in self._takes}
        self.rope.reset()
        with torch.inference_mode(), autocast(self.device, self.autocast):
            logits: torch.Tensor = self.model(input_ids=ids.to(self.device), **options).logits
        return logits


class SharedLogProbs(SharedPrefixes[Encoded]):
    """Reads the logits of responses whose conversations begin alike; see `SharedPrefixes`.

    Args:
        runner: whose model it is.
        kernel: as there.

    Attributes:
        read: what is kept of the logits, log-probabilities unless it is set to another.

    Raises:
        HarnessError: as there.
    """

    _runner: Forward

    def __init__(self, runner: Forward, kernel: str | None = None) -> None:
        self.read: Read = log_probs
        self._runner = runner
        row = self.made_up([(7919 * index + 13) % runner.vocab_size for index in range(24)])
        with torch.inference_mode():
            spread = float(self.alone(row).double().std())
        share = _TOKEN.get(runner.dtype, _TOKEN_HALF)
        super().__init__(runner, share * max(spread, 1e-6), kernel)

    def __call__(self, groups: Sequence[Sequence[Encoded]]) -> list[list[torch.Tensor]]:
        """What `read` keeps of each row's response tokens; each group is a tree, all one pack."""
        with torch.inference_mode():
            return self.scores(groups)

    def tokens(self, row: Encoded) -> Sequence[int]:
        """All but the last, which is only predicted."""
        return row.ids[:-1]

    def made_up(self, ids: list[int]) -> Encoded:
        """A short prompt and the rest."""
        return Encoded(ids, False, 3)

    def of_pack(
        self, pack: Pack, groups: Sequence[Sequence[Encoded]], inputs: dict[str, torch.Tensor]
    ) -> list[list[torch.Tensor]]:
        """See `SharedPrefixes`."""
        # The logits at a place are for the next token. Rows may have places in common.
        places = [
            [tree.place(number, at - 1) for at in range(row.start, len(row.ids))]
            for tree, rows in zip(pack.trees, groups, strict=True)
            for number, row in enumerate(rows)
        ]
        kept = sorted({place for row in places for place in row})
        logits = self._runner.logits_at(kept, torch.tensor([pack.ids]), **inputs)
        if len(logits) != len(kept):
            raise ValueError(f"the model gives logits of shape {list(logits.shape)}")
        index = {place: number for number, place in enumerate(kept)}
        of_rows = iter(places)
        return [
            [self._read(logits, [index[place] for place in next(of_rows)], row) for row in rows]
            for rows in groups
        ]

    def alone(self, row: Encoded) -> torch.Tensor:
        """See `SharedPrefixes`."""
        count = len(row.ids) - row.start
        logits = self._runner.last_logits(torch.tensor([row.ids[:-1]]), count)
        return self._read(logits[0], range(len(logits[0]) - count, len(logits[0])), row)

    def _read(self, logits: torch.Tensor, places: Sequence[int], row: Encoded) -> torch.Tensor:
        tokens = torch.tensor(row.ids[row.start :], device=logits.device)
        return self.read(logits[torch.tensor(places, device=logits.device)], tokens)


class ResponseLogProbs:
    """Sums of the response tokens' log-probabilities.

    Args:
        model: a causal language model, PEFT-wrapped or not, in eval mode.
        device: where the ids go; a dispatched model moves them on by itself.
        autocast: dtype for autocast (lm-eval's ``mixed_precision_dtype``), or None.
        share_prefix: try whether the model allows `SharedLogProbs`.
        kernel: for that.

    Attributes:
        pads: rows of unlike length may share a batch, as far as the model's RoPE lets them.
        sharing: reads rows that begin alike in one pass; None where it was not tried.

    Raises:
        HarnessError: there is a kernel, and it does not work.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        *,
        autocast: torch.dtype | None = None,
        share_prefix: bool = True,
        kernel: str | None = None,
    ) -> None:
        self._run = Forward(model, device, autocast=autocast)
        self.autocast = autocast
        self.pads = True
        self.pads = self._padding_is_exact()
        self.sharing = SharedLogProbs(self._run, kernel) if share_prefix else None

    def __call__(self, rows: Sequence[Encoded]) -> list[float]:
        """Σ log π(token | tokens before it) over each row's tokens from its ``start`` on."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row.ids)] = torch.tensor(row.ids)
            mask[index, : len(row.ids)] = 1
        # The logits at a position are for the next token.
        count = longest - min(row.start for row in rows) + 1
        logits = self._run.last_logits(ids, count, attention_mask=mask.to(self._run.device))
        with torch.inference_mode():
            # Counted from the end: prompt tuning puts virtual tokens in front.
            shift = logits.shape[1] - longest
            return [
                self._sum(logits[index, row.start - 1 + shift : len(row.ids) - 1 + shift], row)
                for index, row in enumerate(rows)
            ]

    def trees(self, groups: Sequence[Sequence[Encoded]]) -> list[list[float]]:
        """The same of groups of rows that begin alike; where `may_share` says so."""
        assert self.sharing is not None
        return [[_added(one) for one in rows] for rows in self.sharing(groups)]

    def may_share(self, lengths: Sequence[int]) -> bool:
        """Whether rows of these lengths (in tokens) may be in one pack."""
        return self.sharing is not None and self.sharing.may_share(lengths)

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one batch."""
        return length == other or (self.pads and self._run.may_share_batch(length, other))

    @staticmethod
    def _sum(logits: torch.Tensor, row: Encoded) -> float:
        """The log-probability of a row's response, by its logits [response tokens, vocabulary]."""
        return _added(log_probs(logits, torch.tensor(row.ids[row.start :], device=logits.device)))

    def _padding_is_exact(self) -> bool:
        vocab_size = self._run.vocab_size
        long = Encoded([(7919 * index + 13) % vocab_size for index in range(11)], False, 4)
        short = Encoded([(104729 * index + 7) % vocab_size for index in range(6)], False, 2)
        alone, padded = self([short])[0], self([long, short])[1]
        tolerance = _TOLERANCE.get(self._run.dtype, _TOLERANCE_HALF)
        if abs(alone - padded) <= tolerance * max(1.0, abs(alone)):
            return True
        logger.warning(
            "%s: padding changes its likelihoods; batching rows of equal length only",
            type(self._run.model).__name__,
        )
        return False


def _added(values: torch.Tensor) -> float:
    return float(values.cpu().double().sum())
