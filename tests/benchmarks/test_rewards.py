# SPDX-License-Identifier: Apache-2.0
"""The rewards are those of each conversation alone."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import SmolLM2
from tests.benchmarks.rows import Item, read, requests
from tests.benchmarks.scoring import (
    BFLOAT16,
    FLOAT32,
    SECTION,
    ours,
    plain,
    reward,
    samples,
    score,
)
from tests.benchmarks.table import Figures

__all__ = ["ours", "plain", "samples"]  # fixtures


def test_rewards_are_equal(
    smollm2: SmolLM2,
    ours: Any,
    plain: Any,
    samples: dict[str, list[Item]],
    data: Path,
    table: Figures,
    pytestconfig: pytest.Config,
) -> None:
    """float32 rewards to rounding; bfloat16 decisions but for margins within their own noise."""
    from tests.benchmarks.peers.scoring import Plain

    pairs = [*samples["llmbar"], *samples["hep"]]
    if pytestconfig.getoption("--benchmarks-all-rows"):
        pairs = read(data, "")
    items = [*pairs, samples["bon_humaneval"][0]]
    exactly = Plain(smollm2.reward, FLOAT32)
    exact = exactly.alone(items)
    found = score(reward(smollm2.reward, FLOAT32), requests(items))
    # What rewards are worth is how they differ: rounding is held against their spread.
    scale = statistics.pstdev(exact)
    off = largest(found, exact) / scale
    few = pairs[:: len(pairs) // 4][:4]
    rounding = largest(exactly.alone(few), Plain(smollm2.reward, "float64").alone(few))
    table.add(
        SECTION,
        "largest difference of a reward, by the spread of rewards | the conversation alone",
        off,
        1e-5,
        "at most",
        "",
        f"{len(pairs)} pairs and a question with 16 candidates; absolute "
        f"{largest(found, exact):.1e}, std of rewards {scale:.2f}; the conversation alone is "
        f"itself off by {rounding:.1e} from float64 (4 pairs)",
        dtype=FLOAT32,
    )
    truth = margins(exact[: 2 * len(pairs)])
    alone, mine = margins(plain.alone(pairs)), margins(score(ours, requests(pairs)))
    noise = {name: std_of(side, truth) for name, side in (("ours", mine), ("alone", alone))}
    other = [
        abs(margin) for a, b, margin in zip(mine, alone, truth, strict=True) if (a > 0) != (b > 0)
    ]
    wrong = [
        sum((a > 0) != (b > 0) for a, b in zip(side, truth, strict=True)) for side in (mine, alone)
    ]
    beyond = [sum(margin > times * noise["alone"] for margin in other) for times in (1, 3)]
    table.add(
        SECTION,
        "decisions that differ, margin above 3 std of its noise | each conversation alone",
        beyond[1],
        0,
        "at most",
        f"of {len(pairs)}",
        f"{len(other)} differ, {beyond[0]} of them above 1 std; noise of a margin (std against "
        f"float32) {noise['ours']:.3f} ours, {noise['alone']:.3f} alone; decisions unlike "
        f"float32's: {wrong[0]} ours, {wrong[1]} alone",
        dtype=BFLOAT16,
    )
    assert off <= 5e-5, "more than the rounding of float32"
    assert beyond[1] == 0


def largest(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest difference."""
    return max(abs(a - b) for a, b in zip(found, expected, strict=True))


def std_of(found: Sequence[float], expected: Sequence[float]) -> float:
    """The standard deviation of the differences."""
    return statistics.pstdev(a - b for a, b in zip(found, expected, strict=True))


def margins(rewards: Sequence[float]) -> list[float]:
    """Chosen less rejected, of rewards in that order."""
    return [a - b for a, b in zip(rewards[::2], rewards[1::2], strict=True)]
