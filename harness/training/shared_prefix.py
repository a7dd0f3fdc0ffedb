"""Compute what all conversations of a batch begin with once: SmolLM2's system prompt, for one.

With short conversations that is nearly half of all tokens. The values are those of the plain
forward pass, and gradients flow through the shared part; only the order of additions differs.
"""

from __future__ import annotations

from typing import Any

_WORTHWHILE = 8  # tokens


def share_prefix(model: Any) -> None:
    """Make `model` compute the common beginning of a batch's rows once.

    Models whose past is not plain keys and values (state-space layers, sliding windows) are left as
    they are, and so is every call that is not a plain batch of right-padded token ids.
    """
    from transformers import DynamicCache
    from transformers.modeling_outputs import BaseModelOutputWithPast

    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "sliding_window", None):
        return
    body = getattr(model, model.base_model_prefix)
    plain = body.forward

    def forward(input_ids: Any = None, attention_mask: Any = None, **others: Any) -> Any:
        length = 0
        needed = {key: value for key, value in others.items() if value is not None}
        if input_ids is not None and attention_mask is not None and set(needed) <= {"use_cache"}:
            length = common_prefix(input_ids, attention_mask)
        if length < _WORTHWHILE:
            return plain(input_ids, attention_mask=attention_mask, **others)
        import torch

        rows = input_ids.shape[0]
        past = DynamicCache(config=config)
        start = plain(input_ids[:1, :length], past_key_values=past, use_cache=True)
        past.batch_repeat_interleave(rows)
        rest = plain(
            input_ids[:, length:],
            attention_mask=attention_mask,
            past_key_values=past,
            use_cache=True,
        )
        shared = start.last_hidden_state.expand(rows, -1, -1)
        return BaseModelOutputWithPast(
            last_hidden_state=torch.cat([shared, rest.last_hidden_state], dim=1)
        )

    body.forward = forward


def common_prefix(input_ids: Any, attention_mask: Any) -> int:
    """How many tokens all rows begin with, short of the shortest row; 0 for left-padded rows.

    Args:
        input_ids: token ids, [rows, length].
        attention_mask: 1 for tokens and 0 for padding, [rows, length].
    """
    if input_ids.dim() != 2 or input_ids.shape[0] < 2 or attention_mask.dim() != 2:
        return 0
    if not bool(attention_mask[:, 0].all()):
        return 0
    same = (input_ids == input_ids[:1]).all(dim=0).long()
    length = int(same.cumprod(dim=0).sum())
    return min(length, int(attention_mask.sum(dim=1).min()) - 1)
