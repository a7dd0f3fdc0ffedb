"""Attention functions are replaced for the time of a pass only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.models.score.packed_attention import attention_within
from harness.models.score.tree import Pack

TREES = Pack.of([[[1, 2, 3], [1, 2, 4, 5]]]).trees


def test_transformers_has_its_own_back_whatever_happens() -> None:
    before = {name: ALL_ATTENTION_FUNCTIONS.get(name) for name in ("sdpa", "eager")}
    with pytest.raises(RuntimeError), attention_within(TREES):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not before["sdpa"]
        raise RuntimeError
    assert {name: ALL_ATTENTION_FUNCTIONS.get(name) for name in before} == before
    assert "eager" not in ALL_ATTENTION_FUNCTIONS


def test_a_users_own_function_is_called_and_comes_back() -> None:
    asked: list[tuple[int, int]] = []

    def own(module: Any, query: Any, key: Any, value: Any, mask: Any, **_: Any) -> Any:
        asked.append((query.shape[2], key.shape[2]))
        return query.transpose(1, 2), None

    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS["sdpa"] = own
    try:
        states = torch.randn(1, 2, 5, 4)
        with attention_within(TREES):
            attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
            output, _ = attend(torch.nn.Identity(), states, states, states, None)
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is own
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = before
    assert asked == [(2, 2), (1, 3), (2, 4)]  # the beginning, and what each ending sees
    assert torch.equal(output, states.transpose(1, 2))


def test_attention_over_anything_else_is_refused() -> None:
    states = torch.randn(1, 2, 5, 4)
    with attention_within(TREES):
        attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
        for other in (states[:, :, :4], states.expand(2, 2, 5, 4)):
            with pytest.raises(ValueError, match="from token to token"):
                attend(torch.nn.Identity(), states, other, other, None)
        with pytest.raises(ValueError, match="from token to token"):
            attend(torch.nn.Identity(), states, states, states, None, position_bias=states)


def test_another_thread_has_its_own_trees_or_none() -> None:
    """The registry is one for all threads, what it does is not."""
    from concurrent.futures import ThreadPoolExecutor

    states = torch.randn(1, 2, 5, 4)
    module = torch.nn.Identity()
    module.is_causal = True

    def attended() -> Any:
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, states, states, states, None)[0]

    def within() -> Any:
        with attention_within(Pack.of([[[1, 2, 3, 4, 5]]]).trees):
            return attended()

    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    alone = attended()
    with attention_within(TREES), ThreadPoolExecutor(1) as thread:
        assert torch.equal(thread.submit(attended).result(), alone)
        assert torch.allclose(thread.submit(within).result(), alone, atol=1e-6)
        assert not torch.allclose(attended(), alone, atol=1e-3)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before
