# SPDX-License-Identifier: Apache-2.0
"""Computing a pair's prompt once changes nothing but the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.training import reward
from harness.training.several_heads import put_on
from harness.training.shared_prefix import share_prefix
from harness.training.shared_prompt import pairs_of, share_prompts
from tests.harness.models.score.test_scorer import build
from tests.harness.training.test_hybrid import Prepared, config, disturb, prepare
from tests.harness.training.test_runs import SMALL

__all__ = ["config", "prepare"]
PAIRS, PROMPTS, ENDS = 3, (18, 9, 12), ((7, 11), (14, 3), (1, 6))


def batch(root: int = 5, longest: int = 0) -> dict[str, Any]:
    """Three pairs that all begin alike, as TRL pads them; the last one's end may be longer."""
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> Any:
        return torch.randint(10, 90, (count,), generator=generator)

    start = some(root)
    prompts = [torch.cat([start, some(count)]) for count in PROMPTS]
    rows = [
        torch.cat([prompts[pair], some(ENDS[pair][side] + longest)])
        for side in (0, 1)
        for pair in range(PAIRS)
    ]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=3)
    lengths = torch.tensor([len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]) * 1}


def computed(model: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any], int]:
    """The rewards of a batch, the gradients of a loss of its pairs, and the positions computed."""
    seen: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(
        lambda _m, ids, _o: seen.append(ids[0].numel())
    )
    model.zero_grad()
    rewards = model(**given, use_cache=False).logits
    (rewards[:PAIRS] - rewards[PAIRS:]).tanh().sum().backward()
    hook.remove()
    named = model.named_parameters()
    gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
    return rewards.detach(), gradients, sum(seen)


def prepared(kind: str, heads: int) -> Any:
    """A model in double precision but for what transformers computes in float32: norms, angles."""
    model = build(kind).double()
    if heads > 1:
        put_on(model, heads, 0)
    return model


def adapted(model: Any, *, lora: bool) -> Any:
    """The model with an adapter that does something."""
    if not lora:
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    wanted = LoraConfig(
        r=4, target_modules="all-linear", task_type="SEQ_CLS", init_lora_weights=False
    )
    return get_peft_model(model, wanted).double()


@pytest.mark.parametrize(("lora", "heads"), [(True, 1), (False, 3)])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt_neox", "gpt2"])
def test_rewards_and_gradients_are_those_of_the_padded_batch(
    kind: str, lora: bool, heads: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """In fewer positions: the common start once, each prompt once, and no padding."""
    plain = computed(adapted(prepared(kind, heads), lora=lora), batch())
    model = prepared(kind, heads)
    share_prefix(model)
    share_prompts(model)
    shared = computed(adapted(model, lora=lora), batch())
    assert not capsys.readouterr().err
    assert torch.allclose(plain[0], shared[0], atol=1e-5)
    assert plain[1].keys() == shared[1].keys() and len(plain[1]) > 4
    for name, gradient in plain[1].items():
        off = float((gradient - shared[1][name]).abs().max())
        assert off <= 1e-5 * max(1.0, float(gradient.abs().max())), (name, off)
    assert shared[2] == 5 + sum(PROMPTS) + sum(map(sum, ENDS))
    assert plain[2] == batch()["input_ids"].numel()


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("bloom", "can't be told what a token sees"),  # ALiBi: distances through the sequence
        ("jamba", "in a pack the states are others than alone"),
    ],
)
def test_models_that_do_not_allow_it_stay_as_they_are(
    kind: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = build(kind)
    before = computed(model, batch())
    share_prompts(model)
    assert "the prompt of a pair is computed twice" in (said := capsys.readouterr().err)
    assert why in said and said.count("\n") == 1
    after = computed(model, batch())
    assert torch.equal(before[0], after[0]) and before[2] == after[2]


def test_rows_beyond_a_window_are_padded() -> None:
    model = build("mistral", sliding_window=40)
    share_prompts(model)
    near, far = batch(), batch(longest=10)
    assert computed(model, near)[2] < near["input_ids"].numel()
    assert computed(model, far)[2] == far["input_ids"].numel()


def test_what_saves_little_is_left_alone() -> None:
    """Rows of one length that share nothing; and half of a pair is no batch of pairs."""
    model = build("llama")
    share_prompts(model)
    ids = torch.arange(10, 70).view(6, 10)
    assert computed(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})[2] == 60
    mask = torch.ones_like(ids)
    assert pairs_of(ids[:5], mask[:5]) is None
    mask[0, 0] = 0  # padded on the left
    assert pairs_of(ids, mask) is None


@pytest.mark.parametrize("more", [{}, {"lora": None}, {"heads": 2}, {"imitation": {"weight": 0.3}}])
def test_the_losses_of_a_hybrid_training(
    more: dict[str, Any],
    prepare: Callable[..., Prepared],
    language_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rewards', the policy's and the imitation's, and the gradient of their sum."""
    found = []
    for shared in (True, False):
        if not shared:
            monkeypatch.setattr(reward, "share_prefix", lambda _: None)
            monkeypatch.setattr(reward, "share_prompts", lambda _: None)
        one = prepare(language_model, training={**SMALL, "seed": 5}, **more)
        disturb(one.trainer.model)
        seen: list[int] = []
        one.trainer.model.get_input_embeddings().register_forward_hook(
            lambda _m, ids, _o, seen=seen: seen.append(ids[0].numel())
        )
        loss, logged = one.losses()
        loss.backward()
        named = one.trainer.model.named_parameters()
        gradients = {name: p.grad for name, p in named if p.grad is not None}
        found.append((logged, gradients, sum(seen)))
    (ours, mine, fewer), (plain, theirs, all_) = found
    assert fewer < 0.9 * all_
    assert ours == pytest.approx(plain, abs=1e-5)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.allclose(gradient, mine[name], atol=1e-5), name
