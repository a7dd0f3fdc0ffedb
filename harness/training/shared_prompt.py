# SPDX-License-Identifier: Apache-2.0
"""Compute the prompt that both answers of a pair follow once, while a reward model is trained.

A batch of pairs becomes one sequence of trees (`harness.models.score.tree`): what all rows begin
with, then the rest of each pair's prompt, then its two ends, and no padding. States and gradients
are those of the padded batch; only the order of additions differs. Whether the model's tokens meet
in attention alone is tried out once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from harness.models.score.own_forward import takes
from harness.models.score.packed_attention import EAGER, SDPA, attention_within
from harness.models.score.rope import Rope
from harness.models.score.sharing import reach
from harness.models.score.tree import Pack, Rows, common_beginning

_WORTHWHILE = 0.9  # of the positions of the padded batch
_TRIED = 48  # tokens of the longest row that is tried


def share_prompts(model: Any) -> None:
    """Make `model` compute the prompts of a batch of pairs once, where that saves positions.

    A batch of pairs is TRL's: right-padded ids, all chosen rows and then all rejected ones. Every
    other call, and a row beyond the reach of the model's attention, is left as it is; a model that
    can't have it stays as it is, which is said.
    """
    body = getattr(model, model.base_model_prefix)
    limits = [limit for limit in (reach(model.config), Rope(model).limit) if limit is not None]
    longest = min(limits, default=None)
    if reason := _try_out(model, body, longest):
        name = type(model).__name__
        click.echo(f"{name}: the prompt of a pair is computed twice ({reason})", err=True)
        return
    from transformers.modeling_outputs import BaseModelOutputWithPast

    plain = body.forward

    def forward(input_ids: Any = None, attention_mask: Any = None, **others: Any) -> Any:
        needed = {key for key, value in others.items() if value is not None}
        rows = None
        if input_ids is not None and attention_mask is not None and needed <= {"use_cache"}:
            rows = pairs_of(input_ids, attention_mask)
        if not rows or (longest is not None and max(map(len, rows)) > longest):
            return plain(input_ids, attention_mask=attention_mask, **others)
        groups = list(zip(rows[: len(rows) // 2], rows[len(rows) // 2 :], strict=True))
        root = common_beginning(rows)
        pack = Pack.of(groups, root)
        padded = root + len(rows) * (input_ids.shape[1] - root)
        if len(pack.ids) > _WORTHWHILE * padded:
            return plain(input_ids, attention_mask=attention_mask, **others)
        states = packed_states(plain, pack, input_ids.device)
        places = [
            [tree.place(end, at) for at in range(len(group[end]))]
            for end in (0, 1)
            for tree, group in zip(pack.trees, groups, strict=True)
        ]
        return BaseModelOutputWithPast(last_hidden_state=_as_rows(states, places, input_ids))

    body.forward = forward


def pairs_of(input_ids: Any, attention_mask: Any) -> list[list[int]] | None:
    """The rows of a batch without their padding; None for what is no right-padded batch of pairs.

    Args:
        input_ids: token ids, [rows, length].
        attention_mask: 1 for tokens and 0 for padding, [rows, length].
    """
    if input_ids.dim() != 2 or input_ids.shape[0] % 2 or attention_mask.shape != input_ids.shape:
        return None
    mask = attention_mask.bool()
    if not bool(mask[:, 0].all()) or bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        return None
    lengths = mask.sum(dim=1).tolist()
    return [row[:length] for row, length in zip(input_ids.tolist(), lengths, strict=True)]


def packed_states(forward: Any, pack: Pack, device: Any) -> Any:
    """The body's last states of a pack, [tokens, hidden size]."""
    import torch

    with attention_within(pack.trees):
        return forward(
            torch.tensor([pack.ids], device=device),
            # Of four dimensions, so that transformers makes none; it is not looked at.
            attention_mask=torch.zeros(1, 1, 1, 1, device=device),
            position_ids=torch.tensor([pack.positions], device=device),
            use_cache=False,
        )[0][0]


def _as_rows(states: Any, places: Sequence[list[int]], input_ids: Any) -> Any:
    """States as the padded batch has them; that of padding is the first token's: none reads it."""
    import torch

    count, length = input_ids.shape
    index = [[*row, *[0] * (length - len(row))] for row in places]
    taken = states.index_select(0, torch.tensor(index, device=states.device).flatten())
    return taken.view(count, length, -1)


def _try_out(model: Any, body: Any, longest: int | None) -> str | None:
    """Why a pack can't be had; None if it can: rows are as alone, whatever is beside them."""
    import torch

    if not (takes(body, "position_ids") and takes(body, "attention_mask")):
        return "its body takes no positions"
    attention = getattr(model.config, "_attn_implementation", None)
    if attention not in (SDPA, EAGER):
        return f"its attention is {attention}, not {SDPA} or {EAGER}"
    if getattr(model.config.get_text_config(), "attn_temperature_tuning", False):  # Llama 4
        return "its attention is scaled by the place in the sequence"
    tokens = min(_TRIED, longest or _TRIED)
    if tokens < _TRIED // 2:
        return f"rows of more than {tokens} tokens can't go together"
    size = model.config.get_text_config().vocab_size
    start = [(7919 * at + 13) % size for at in range(6)]
    # An end behind a long one shows positions that are counted through the sequence.
    row, other, last = (
        start + [(factor * at + 5) % size for at in range(count)]
        for factor, count in ((104729, tokens - 6), (15485863, tokens - 6), (611953, 8))
    )
    training = body.training
    body.eval()
    try:
        with torch.no_grad():
            beside = [_last_states(body, [[one, last], [one]], 3) for one in (row, other)]
            device = next(body.parameters()).device
            alone = body(torch.tensor([last], device=device), use_cache=False)[0][0, -1]
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError) as error:
        return f"its body can't be told what a token sees: {type(error).__name__}"
    finally:
        body.train(training)
    # bf16 rounds by 0.4%, and again in each layer.
    allowed = 0.1 if alone.dtype == torch.bfloat16 else 1e-4
    if any(float((one - alone).abs().max() / alone.abs().max()) > allowed for one in beside):
        return "in a pack the states are others than alone"
    return None


def _last_states(body: Any, groups: list[Rows], root: int) -> Any:
    """The state of the last token of the first group's second row, in a pack."""
    pack = Pack.of(groups, root)
    device = next(body.parameters()).device
    states = packed_states(body.forward, pack, device)
    return states[pack.trees[0].place(1, len(groups[0][1]) - 1)]
