# SPDX-License-Identifier: Apache-2.0
"""Three heads on one trunk, in one forward, against the ensemble of three checkpoints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.measure import alternate
from tests.benchmarks.table import Figures
from tests.benchmarks.test_adapters import FLOAT32, PAIRS, SMOLLM2, WORDS, asked, tokenizer

__all__ = ["asked"]
SECTION = "Heads on one trunk"
HEADS = 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The checkpoint of three heads, and three checkpoints of one each; one random trunk."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("heads")
    torch.manual_seed(0)
    network = LlamaForSequenceClassification(LlamaConfig(**SMOLLM2, num_labels=HEADS))
    network.save_pretrained(folder / "together")
    tokenizer().save_pretrained(folder / "together")
    whole = network.score.weight.detach().clone()
    apart = []
    for number in range(HEADS):
        network.score.weight = torch.nn.Parameter(whole[number : number + 1].clone())
        network.config.num_labels = 1
        apart.append(folder / f"head-{number}")
        network.save_pretrained(apart[-1])
        tokenizer().save_pretrained(apart[-1])
    return folder / "together", apart


def test_speed(folders: tuple[Path, list[Path]], asked: list[Any], table: Figures) -> None:
    """The same rewards, in a third of the time."""
    from harness.models.ensemble import RewardEnsemble
    from harness.models.reward import Reward

    together, apart = folders
    given: dict[str, Any] = {"dtype": FLOAT32, "device": "cpu", "batch_size": "auto"}
    ours = Reward(str(together), combine="mean", **given)
    peer = RewardEnsemble([str(one) for one in apart], combine="mean", **given)
    rewards = [[answer[0] for answer in one.loglikelihood(asked, True)] for one in (ours, peer)]
    assert rewards[0] == pytest.approx(rewards[1], abs=1e-6)
    pairs = alternate(
        partial(ours.loglikelihood, asked, True), partial(peer.loglikelihood, asked, True)
    )
    table.add(
        SECTION,
        f"time of {HEADS} heads | an ensemble of {HEADS} checkpoints",
        pairs.ratio,
        1 / HEADS * 1.1,
        "at most",
        "×",
        f"equal within 1e-6; {PAIRS} pairs of 3 texts of {WORDS} tokens",
        pairs=pairs,
        dtype=FLOAT32,
    )
