# SPDX-License-Identifier: Apache-2.0
"""The order in which rows are trained on: drawn from the seed and the epoch, and nothing else.

A trainer's own order comes from the random numbers that were used before. A run that goes on in a
later epoch than the first has used others, and would see some rows twice and others never; and
processes that share a batch would share it otherwise than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def ordered(trainer_class: Any, lengths: list[int]) -> Any:
    """A trainer with that order, rows of like lengths together.

    Args:
        trainer_class: one of TRL's.
        lengths: of the rows that it trains on, in their order.
    """
    import torch
    from numpy.random import SeedSequence
    from transformers.trainer_pt_utils import LengthGroupedSampler

    class OfEpoch(LengthGroupedSampler):
        """Transformers' sampler with numbers of its own."""

        def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
            super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
            self._seed = seed
            self._epoch = 0

        def set_epoch(self, epoch: int) -> None:
            """The trainer says it before it asks for the rows."""
            self._epoch = epoch

        def __iter__(self) -> Iterator[int]:
            mixed = SeedSequence([self._seed, self._epoch]).generate_state(1)  # torch takes 32 bits
            self.generator.manual_seed(int(mixed[0]))
            return iter(super().__iter__())

    class Ordered(trainer_class):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            args = self.args
            batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            return OfEpoch(batch, lengths, args.data_seed)

    return Ordered
