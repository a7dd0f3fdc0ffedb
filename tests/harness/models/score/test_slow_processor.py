# SPDX-License-Identifier: Apache-2.0
"""How long scoring takes is told once, and only where there are no bfloat16 instructions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.models.score import slow_processor
from tests.harness.models.test_reward import reward, rewards


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pass is enough for an estimate, and every estimate worth telling."""
    monkeypatch.setattr(slow_processor, "SECONDS", 0.0)
    monkeypatch.setattr(slow_processor, "WORTH_TELLING", 0.0)
    monkeypatch.setattr(slow_processor.Forecast, "told", False)


@pytest.mark.parametrize(("fast", "told"), [("float32", 1), ("bfloat16", 0)])
@pytest.mark.usefixtures("at_once")
def test_the_seconds_are_told_once(
    fast: str,
    told: int,
    save_reward_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(slow_processor, "fast_dtype", lambda: fast)
    model = reward(save_reward_model(), dtype="float32")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            rewards(model, [("a question", "an answer"), ("another", "one more")])
    said = [record.message for record in caplog.records if "slow in bfloat16" in record.message]
    assert len(said) == told
    assert not told or "scoring 2 rows in float32 takes about" in said[0]


def test_an_estimate_is_of_all_rows_by_their_lengths(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    monkeypatch.setattr(slow_processor, "fast_dtype", lambda: "float32")
    monkeypatch.setattr(slow_processor.Forecast, "told", False)
    clock = iter([0.0, 2.0, 6.0])
    monkeypatch.setattr(slow_processor.time, "perf_counter", lambda: next(clock))
    forecast = slow_processor.Forecast([10, 20, 70], torch.float32, torch.device("cpu"))
    with caplog.at_level(logging.WARNING):
        forecast.passed([0])  # after two seconds: too early
        assert not caplog.records
        forecast.passed([1])  # 30 of 100 in six
    assert [record.message for record in caplog.records] == [
        "this processor is slow in bfloat16: scoring 3 rows in float32 takes about 20 s here"
    ]
