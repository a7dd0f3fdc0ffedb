# SPDX-License-Identifier: Apache-2.0
"""The order of rows: the seed's and the epoch's, whatever else was drawn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from harness.training.order import ordered

LENGTHS = [10 + (7 * n) % 50 for n in range(40)]


class Plain:
    def __init__(self, seed: int, batch: int, world: int) -> None:
        self.args = SimpleNamespace(
            train_batch_size=batch, gradient_accumulation_steps=1, world_size=world, data_seed=seed
        )


def order(epoch: int, seed: int = 0, batch: int = 4, world: int = 1) -> list[int]:
    sampler: Any = ordered(Plain, LENGTHS)(seed, batch, world)._get_train_sampler()
    sampler.set_epoch(epoch)
    return list(sampler)


def test_an_epoch_has_its_own_order_however_it_is_reached() -> None:
    before = order(1)
    torch.rand(100)
    assert order(1) == before and sorted(before) == list(range(40))
    assert len({tuple(order(epoch, seed)) for epoch in range(3) for seed in range(2)}) == 6


def test_processes_share_the_order_of_one() -> None:
    assert order(0, batch=2, world=2) == order(0, batch=4, world=1)
