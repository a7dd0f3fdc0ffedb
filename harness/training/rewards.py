# SPDX-License-Identifier: Apache-2.0
"""Reward heads in training: their arithmetic, their start, and the rewards of token sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import HarnessError
from harness.training.batches import padded_batches


def start_at_zero(head: Any, count: int) -> None:
    """Let a reward head begin with the reward 0 for all (HaF-RM's authors do).

    Raises:
        HarnessError: of several heads, which would then stay the same.
    """
    import torch

    if count > 1:
        raise HarnessError(
            f"`head: zero` gives all {count} heads one start, and they would stay alike: leave it "
            "out, or `heads`"
        )
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()


def score_in_fp32(model: Any) -> None:
    """Give `model` a head that computes in fp32: rounded to bf16, rewards would often tie."""
    import torch

    class Fp32Linear(torch.nn.Linear):
        def forward(self, states: Any) -> Any:
            with torch.autocast(states.device.type, enabled=False):
                return torch.nn.functional.linear(states.float(), self.weight.float(), self.bias)

    old = model.score
    head = Fp32Linear(old.in_features, old.out_features, bias=old.bias is not None)
    head.load_state_dict({name: t.float() for name, t in old.state_dict().items()})
    model.score = head.to(old.weight.device)


def head_scores(
    model: Any,
    sequences: list[list[int]],
    pad: int,
    batch_size: int,
    after: Callable[[], None] = lambda: None,
) -> list[list[float]]:
    """The rewards of each token sequence by every head, in the body's arithmetic with an fp32 head.

    `after` is called after each batch.
    """
    import torch

    rewards: list[list[float]] = [[]] * len(sequences)
    model.eval()
    device, dtype = (body := next(model.parameters())).device, body.dtype
    for at, inputs in padded_batches(sequences, pad, batch_size, device):
        mixed = torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
        with torch.no_grad(), mixed:
            logits = model(**inputs).logits
        after()
        for i, row in zip(at, logits.tolist(), strict=True):
            rewards[i] = row
    return rewards


def score(
    model: Any,
    sequences: list[list[int]],
    pad: int,
    batch_size: int,
    after: Callable[[], None] = lambda: None,
) -> list[float]:
    """The reward of each token sequence by a model of one head; see `head_scores`."""
    return [reward for (reward,) in head_scores(model, sequences, pad, batch_size, after)]
