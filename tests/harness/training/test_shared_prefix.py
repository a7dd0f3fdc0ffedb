"""Computing a common beginning once changes nothing but the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.training.shared_prefix import common_prefix, share_prefix


def _batch(prefix: int) -> tuple[Any, Any]:
    """Four right-padded rows of unlike lengths that begin with the same tokens."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(10, 90, (n,), generator=generator) for n in (9, 14, 3, 14)]
    start = torch.randint(10, 90, (prefix,), generator=generator)
    rows = [torch.cat([start, row]) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()


@pytest.mark.parametrize("prefix", [0, 5, 20])
def test_rewards_and_gradients_are_the_same(reward_model: Path, prefix: int) -> None:
    """In fp32, on every row, whether there is something to share or not."""
    import torch
    from transformers import AutoModelForSequenceClassification

    ids, mask = _batch(prefix)
    found = []
    for share in (False, True):
        model = AutoModelForSequenceClassification.from_pretrained(reward_model)
        tokens = []
        embedding = model.model.embed_tokens
        embedding.register_forward_hook(
            lambda _m, _i, out, seen=tokens: seen.append(out[..., 0].numel())
        )
        if share:
            share_prefix(model)
        rewards = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]
        (rewards[:2] - rewards[2:]).tanh().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append((rewards.detach(), gradients, sum(tokens)))
    plain, shared = found
    assert torch.allclose(plain[0], shared[0], atol=1e-5)
    assert plain[1].keys() == shared[1].keys()
    for name, gradient in plain[1].items():
        assert torch.allclose(gradient, shared[1][name], atol=1e-5), name
    saved = 3 * prefix if prefix >= 8 else 0  # a few tokens are not worth a second pass
    assert plain[2] - shared[2] == saved


def test_language_models_too(language_model: Path) -> None:
    """The logits of all positions, the shared ones included."""
    import torch
    from transformers import AutoModelForCausalLM

    ids, mask = _batch(12)
    model = AutoModelForCausalLM.from_pretrained(language_model)
    with torch.no_grad():
        plain = model(input_ids=ids, attention_mask=mask).logits
        share_prefix(model)
        shared = model(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(plain[mask.bool()], shared[mask.bool()], atol=1e-5)


def test_what_is_common() -> None:
    """Never a whole row, nothing with padding on the left, nothing in a batch of one."""
    import torch

    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 0], [5, 6, 9, 9]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    assert common_prefix(ids, mask) == 2
    assert common_prefix(ids[:2], mask[:2]) == 2
    assert common_prefix(ids[:1], mask[:1]) == 0
    assert common_prefix(ids, mask.flip(1)) == 0
