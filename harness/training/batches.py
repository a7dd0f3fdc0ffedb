# SPDX-License-Identifier: Apache-2.0
"""Token sequences in padded batches of like lengths, for a model that is asked and not trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def padded_batches(
    sequences: Sequence[Sequence[int]], pad: int, batch_size: int, device: Any
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Each batch's places in `sequences`, and its `input_ids` and `attention_mask`, shortest first.

    Args:
        sequences: token ids.
        pad: the id that fills up, on the right.
        batch_size: rows of a batch, at most.
        device: where the tensors are to be.
    """
    import torch

    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for start in range(0, len(order), batch_size):
        at = order[start : start + batch_size]
        rows = [torch.tensor(sequences[i]) for i in at]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
        yield at, {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
