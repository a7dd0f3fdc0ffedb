# SPDX-License-Identifier: Apache-2.0
"""Token ids in, rewards out, for any sequence-classification model.

A reward is what ``model(**inputs).logits`` gives for the single unpadded conversation. transformers
pools at the right-most token that is not ``pad_token_id``; where pad = eos that skips a trailing
eos, and a reward model was trained so. The position is computed here from the unpadded row, so
padding cannot move it.

Rows are padded on the right: in a causal model (attention, sliding window, state space or linear
attention) no token after another changes its state, no mask is needed, and the positions are those
of the unpadded row. What padding does change is the longest position in the batch, and some RoPE
types look at that (`harness.models.score.rope`): there, rows share a batch only where it does not
matter. Whether a model fits otherwise is not read off a list of names but tried on two short rows
when the model is loaded; one that does not fit is run by its own forward.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError
from harness.models.load.head import (
    adapter_changes_inputs,
    body_of,
    float32_modules,
    has_own_code,
    run_in_float32,
    without_adapter_wrapper,
)
from harness.models.score.own_forward import OwnForward, autocast, takes
from harness.models.score.rope import Rope
from harness.models.score.sharing import SharedRewards

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# Tolerances of the trial, relative to how much the reward varies from token to token. A wrong
# position or a state that padding has touched is off by about 1; rounding is far below.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_TOLERANCE_HALF = 0.1


def tolerance(dtype: torch.dtype) -> float:
    """What two ways to compute a reward in a dtype may differ by, relative to its spread."""
    return _TOLERANCE.get(dtype, _TOLERANCE_HALF)


def pooled_position(ids: Sequence[int], pad_token_id: int | None) -> int:
    """The index in an unpadded row that transformers pools at.

    The right-most token other than ``pad_token_id``; the last one where there is no pad token; 0
    where the row holds nothing else (transformers takes an argmax over zeros).
    """
    if pad_token_id is None:
        return len(ids) - 1
    for index in range(len(ids) - 1, -1, -1):
        if ids[index] != pad_token_id:
            return index
    return 0


class Scorer:
    """Scores batches of token-id rows.

    Args:
        model: a sequence-classification model with one label, PEFT-wrapped or not, in eval mode.
            With more labels, each is a reward of its own, and a score is a list of them.
        device: where the ids go; a dispatched model moves them on by itself.
        float32_head: compute the head in float32; False leaves the model's own dtype.
        autocast: dtype for the body's autocast (lm-eval's ``mixed_precision_dtype``), or None.
        share_prefix: try whether the model allows `SharedRewards`.
        kernel: how attention is computed there; see `harness.models.score.sharing`.

    Attributes:
        pads: rows of unlike length may share a batch, as far as the model's RoPE lets them.
        own_forward: the model's own forward is used, not body, position and head.
        sharing: scores rows that begin alike in one pass; None where it was not tried.

    Raises:
        HarnessError: there is a kernel, and it does not work.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        *,
        float32_head: bool = True,
        autocast: torch.dtype | None = None,
        share_prefix: bool = True,
        kernel: str | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.autocast = autocast
        inner = without_adapter_wrapper(model)
        self.rope = Rope(model)
        heads = float32_modules(inner)
        self.own_code = has_own_code(inner)
        loaded_in = getattr(inner, "head_loaded_in", None)
        if loaded_in is not None and not float32_head:
            for module in heads.values():
                module.to(loaded_in)
        # A list: not run_in_float32(...) and ...; every module of the head is to be converted.
        converted = [run_in_float32(module) for module in heads.values()] if float32_head else []
        float32 = list(heads.values()) if converted and all(converted) else []
        config: Any = getattr(inner, "config", None)
        self.heads = 1 if self.own_code else int(getattr(config, "num_labels", 1))
        self._own = OwnForward(model, device, self.rope, float32, autocast, self.heads)
        text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
        # A published head is read at the last token, whatever it is: no token is skipped.
        last = getattr(inner, "reads_last_token", False)
        self.pad_token_id: int | None = None if last else getattr(text_config, "pad_token_id", None)
        self.vocab_size = int(getattr(text_config, "vocab_size", 0) or 2)
        self.batches_own_forward = (
            self.pad_token_id is not None
            and not getattr(config, "is_encoder_decoder", False)
            and not self.own_code
        )
        # InternLM2-Reward: the token that its get_score puts behind every conversation.
        self.reward_token_id: int | None = getattr(text_config, "reward_token_id", None)
        self.body = None if adapter_changes_inputs(model) else body_of(inner)
        self.head = next(iter(heads.values())) if len(heads) == 1 else None
        self.own_forward, self.pads = False, True
        self.sharing: SharedRewards | None = None
        reason, allowed = self._try_out()
        if reason:
            logger.warning("%s", reason)
        elif share_prefix and self.reward_token_id is None:
            self.sharing = SharedRewards(self, allowed, kernel)
        if kernel and self.sharing is None:
            raise HarnessError(
                f"share_prefix={kernel}: rows of {type(model).__name__} can't be scored together; "
                "leave it out"
            )

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[Any]:
        """The rewards of `rows` (lists of token ids, unpadded), in their order.

        Returns:
            A number of each row, or with several heads a list of them.

        Raises:
            HarnessError: the checkpoint's own code fails on them, or returns no reward.
        """
        end = self.reward_token_id
        if end is not None:
            rows = [row if row[-1] == end else [*row, end] for row in rows]
        with torch.inference_mode():
            scores = self._own(rows) if self.own_forward else self.rewards(rows)
        values: list[Any] = scores.double().cpu().tolist()
        return values

    @property
    def head_dtype(self) -> str:
        """The dtype the head computes in, for the results."""
        return "float32" if self._own.float32 else "the model's own"

    @property
    def shares_prefixes(self) -> bool:
        """Whether what rows begin with is computed once."""
        return self.sharing is not None and self.sharing.works

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) may be scored in one batch."""
        if self.own_forward and not self.batches_own_forward:
            return False
        if self.reward_token_id is not None:
            return False  # rows grow by one where they do not end in it
        return length == other or (self.pads and self.rope.may_share_batch(length, other))

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of attention scores."""
        return self.autocast or next(self.model.parameters()).dtype

    def pooled(self, row: Sequence[int]) -> int:
        """The index in an unpadded row whose state the head reads."""
        return pooled_position(row, self.pad_token_id)

    def _body_states(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Hidden states [rows, longest, hidden] of the right-padded rows."""
        longest = max(len(row) for row in rows)
        fill = self.pad_token_id if self.pad_token_id is not None else 0
        ids = torch.full((len(rows), longest), fill, dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        return self.states(ids)

    def states(self, ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
        """The body's hidden states [rows, tokens, hidden] of token ids [rows, tokens]."""
        assert self.body is not None
        options = {"use_cache": False} if takes(self.body, "use_cache") else {}
        self.rope.reset()
        with autocast(self.device, self.autocast):
            output = self.body(input_ids=ids.to(self.device), **inputs, **options)
        states = output[0] if isinstance(output, tuple) else output.last_hidden_state
        if states.shape[:2] != ids.shape:
            raise ValueError(f"the body gives states of shape {list(states.shape)}")
        return states

    def rewards(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """The rewards [rows], or [rows, heads], by body, pooled position and head."""
        states = self._body_states(rows)
        positions = [self.pooled(row) for row in rows]
        return self.reward_of(
            states[
                torch.arange(len(rows), device=states.device),
                torch.tensor(positions, device=states.device),
            ]
        )

    def reward_of(self, states: torch.Tensor) -> torch.Tensor:
        """The head on states [..., hidden]: rewards [...], or [..., heads]."""
        assert self.head is not None
        with autocast(self.device, self.autocast):
            rewards: torch.Tensor = self.head(states)
        if rewards.shape != (*states.shape[:-1], self.heads):
            raise ValueError(f"the head gives {list(rewards.shape)} for {list(states.shape)}")
        return rewards.squeeze(-1) if self.heads == 1 else rewards

    def _try_own_code(self, name: str) -> str:
        """Run a checkpoint's own code on two rows of tokens; only its forward says its reward."""
        self.own_forward, self.pads = True, False
        for length in (11, 6):
            row = [(7919 * index + 13) % self.vocab_size for index in range(length)]
            try:
                with torch.inference_mode():
                    self._own([row])
            except HarnessError as error:
                if error.__cause__ is None:
                    raise
                # its code fails: it may ask for tokens of its chat template
                logger.info("%s on made-up tokens: %s", name, error)
        return f"{name}: the checkpoint's own code; scoring by its forward, row by row"

    def _try_out(self) -> tuple[str | None, float]:
        """Choose how to run this model: the reason if it is not the usual way, and a tolerance."""
        name = type(self.model).__name__
        if self.own_code:
            return self._try_own_code(name), 0.0
        alone = f"{name}: {{}}; scoring by the model's own forward, " + (
            "rows of equal length together" if self.batches_own_forward else "row by row"
        )
        if self.body is None or self.head is None:
            self.own_forward, self.pads = True, False
            return alone.format("no body and single head to run apart"), 0.0
        long = [(7919 * index + 13) % self.vocab_size for index in range(11)]
        if self.pad_token_id is not None:
            long[5] = long[9] = long[10] = self.pad_token_id
        short = [(104729 * index + 7) % self.vocab_size for index in range(6)]
        try:
            with torch.inference_mode():
                expected = torch.cat([self._own([long]), self._own([short])]).cpu()
                pooled = torch.cat([self.rewards([long]), self.rewards([short])]).cpu()
                padded = self.rewards([long, short]).cpu()
                spread = float(self.reward_of(self._body_states([long])).double().std(1).min())
        except Exception as error:  # a structure not ours to know, or a model that is broken
            self.own_forward, self.pads = True, False
            return alone.format(f"body and head cannot be run apart ({error})"), 0.0
        allowed = tolerance(self.compute_dtype) * max(spread, 1e-6)
        if not bool(expected.isfinite().all()):
            self.own_forward, self.pads = True, False
            return alone.format("its rewards of made-up rows are NaN or infinite"), 0.0
        if not bool(((expected - pooled).abs() <= allowed).all()):
            self.own_forward, self.pads = True, False
            return alone.format("body, position and head do not give the model's own reward"), 0.0
        if not bool(((expected - padded).abs() <= allowed).all()):
            self.pads = False
            return f"{name}: padding changes its rewards; batching rows of equal length only", 0.0
        return None, allowed
