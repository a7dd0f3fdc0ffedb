# SPDX-License-Identifier: Apache-2.0
"""A reward model run by its own forward: code of its own, an encoder, a head of many parts."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError, first_line
from harness.models.load import remote_code
from harness.models.load.head import has_own_code, leave_float32
from harness.models.score.rope import Rope

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def takes(module: nn.Module, name: str) -> bool:
    """Whether a module's forward has an argument of that name."""
    parameters = inspect.signature(module.forward).parameters
    return name in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """Compute in lower precision where a dtype is given (lm-eval's ``mixed_precision_dtype``)."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


class OwnForward:
    """Scores unpadded rows of one length by ``model(**inputs)``.

    Args:
        model: as `harness.models.score.scorer.Scorer` takes it.
        device: where the ids go.
        rope: the model's rotary embeddings.
        float32: the modules of its head that `run_in_float32` has converted.
        autocast: dtype for autocast, or None.
        heads: how many rewards a row has.

    Attributes:
        float32: empty once the model has turned out not to take a float32 head.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        rope: Rope,
        float32: Sequence[nn.Module],
        autocast: torch.dtype | None,
        heads: int = 1,
    ) -> None:
        self.heads = heads
        self.model = model
        self.device = device
        self.rope = rope
        self.float32 = list(float32)
        self.autocast = autocast
        self.own_code = has_own_code(model)
        self.body_dtype = next(model.parameters()).dtype
        self.per_token: bool | None = None
        self._has_run = False

    def __call__(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """The rewards [rows], or [rows, heads], of rows of one length.

        Raises:
            HarnessError: the checkpoint's own code fails on them, or returns no reward.
        """
        ids = torch.tensor(list(rows), dtype=torch.long, device=self.device)
        masked = takes(self.model, "attention_mask")
        options = {"attention_mask": torch.ones_like(ids)} if masked else {}
        output = self._run(input_ids=ids, **options)
        if not self.own_code:
            logits: torch.Tensor = output.logits
            return logits.reshape(len(rows) if self.heads == 1 else (len(rows), self.heads))
        rewards, per_token = remote_code.read(output, *ids.shape)
        # A row as long as the model has objectives looks like one reward per token, once.
        if self.per_token not in (None, per_token):
            raise HarnessError(
                f"{type(self.model).__name__} returns one number per conversation for some rows "
                "and one per token for others: it is no reward model that can be read"
            )
        self.per_token = per_token if ids.shape[1] > 1 else self.per_token
        return rewards

    def _run(self, **inputs: Any) -> Any:
        """What the model returns; where it cannot take a float32 head, with the head as loaded."""
        from accelerate.utils.memory import should_reduce_batch_size

        def forward() -> Any:
            self.rope.reset()
            with autocast(self.device, self.autocast):
                return self.model(**inputs)

        try:
            output = forward()
        except Exception as error:
            if should_reduce_batch_size(error):
                raise  # batch_size=auto halves the batch
            # Not once rewards have been given: all of a run are to be of one kind.
            retried = self._with_head_as_loaded(forward) if not self._has_run else None
            if retried is None and self.own_code:
                raise HarnessError(
                    f"the checkpoint's own code ({type(self.model).__name__}) fails on a "
                    f"conversation of {inputs['input_ids'].shape[1]} tokens: "
                    f"{type(error).__name__}: {first_line(error)[:200]}"
                ) from error
            if retried is None:
                raise
            output = retried
        self._has_run = True
        return output

    def _with_head_as_loaded(self, forward: Callable[[], Any]) -> Any:
        """What `forward` gives then; None, and the head in float32 again, where it fails too."""
        if not self.float32 or self.body_dtype == torch.float32:
            return None
        back = leave_float32(self.float32, self.body_dtype)
        try:
            output = forward()
        except Exception:  # so the head is not the reason; the first error tells it
            back()
            return None
        self.float32 = []
        logger.warning(
            "%s cannot run with a float32 head: the head stays in %s",
            type(self.model).__name__,
            str(self.body_dtype).removeprefix("torch."),
        )
        return output
