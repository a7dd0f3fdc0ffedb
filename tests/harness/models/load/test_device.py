# SPDX-License-Identifier: Apache-2.0
"""A dtype that the processor emulates is told, once, with what it costs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.models.load import device
from tests.harness.models.test_reward import reward


@pytest.mark.parametrize(("factor", "told"), [(33.0, True), (1.2, False)])
def test_a_reward_model_in_an_emulated_dtype_is_told_once(
    factor: float,
    told: bool,
    save_reward_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(device, "slowdown", lambda dtype: factor)
    device._warn.cache_clear()
    model = save_reward_model()
    with caplog.at_level(logging.WARNING):
        for dtype in ("float32", "bfloat16", "bfloat16"):
            reward(model, dtype=dtype)
    said = [record.message for record in caplog.records if "emulated" in record.message]
    assert len(said) == told
    assert not told or ("33 times" in said[0] and "dtype=float32" in said[0])


def test_an_accelerator_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dtype: str) -> float:
        raise AssertionError(dtype)

    monkeypatch.setattr(device, "slowdown", refuse)
    device.warn_if_emulated(torch.bfloat16, torch.device("meta"))
    device.warn_if_emulated(torch.float32, torch.device("cpu"))
