# SPDX-License-Identifier: Apache-2.0
"""How many parameters a candidate has in memory, and how many of them an answer takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dogerm_plugin.run.experts import parameters
from harness.study.candidates.scoring import sizes
from tests.harness.models.score.test_scorer import build
from tests.harness.models.test_reward import reward


def test_a_dense_model_works_with_all_it_has(save_reward_model: Callable[..., Path]) -> None:
    model = reward(save_reward_model())
    stored = sum(p.numel() for p in model.model.parameters())
    assert sizes(model) == {"stored": stored, "active": stored}


def test_idle_experts_are_counted_once(save_reward_model: Callable[..., Path]) -> None:
    """A scorer holds the body beside the whole model: that is no second one."""
    folder = save_reward_model()
    build("mixtral", vocab_size=200, num_local_experts=4).save_pretrained(folder)
    model = reward(folder)
    expected = parameters.count(model.model)
    assert expected.active < expected.total
    assert sizes(model) == {"stored": expected.total, "active": expected.active}
