# SPDX-License-Identifier: Apache-2.0
"""Three ways to compute attention within the trees of a pack; the numbers differ by rounding.

- ``parts``: `harness.models.score.tree_attention`.
- ``varlen``: one call for all parts, as sequences of unlike lengths whose queries are the last of
  their keys: that is what a causal mask of such a call means. Keys that several parts see are
  copied for each. Where the model's attention is a flash function it is that one, else torch's.
- ``flex``: ``flex_attention`` with a mask of the trees. Nothing is copied; compiled on CUDA, where
  blocks that no part sees are skipped.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch.nn import functional

from harness.models.score.tree import Tree
from harness.models.score.tree_attention import Call, Kernel, Parts

PARTS, VARLEN, FLEX = "parts", "varlen", "flex"


class Varlen(Kernel):
    """One call for all parts."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        super().__init__(trees)
        self._keys = [place for _, seen in self._parts for span in seen for place in span]
        queries = [len(span) for span, _ in self._parts]
        keys = [sum(map(len, seen)) for _, seen in self._parts]
        self._longest = max(queries), max(keys)
        self._ends = [list(itertools.accumulate(one, initial=0)) for one in (queries, keys)]
        self._on: dict[torch.device, tuple[torch.Tensor, ...]] = {}

    def __call__(
        self, call: Call, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """See `Kernel`.

        Raises:
            ValueError: there is no such function for this model's attention.
        """
        if query.device not in self._on:
            self._on[query.device] = (
                torch.tensor(self._keys, device=query.device),
                *(torch.tensor(e, dtype=torch.int32, device=query.device) for e in self._ends),
            )
        places, query_ends, key_ends = self._on[query.device]
        key, value = key.index_select(2, places), value.index_select(2, places)
        most_queries, most_keys = self._longest
        if call.flash:
            return call.own(
                query,
                key,
                value,
                mask=None,
                cu_seq_lens_q=query_ends,
                cu_seq_lens_k=key_ends,
                max_length_q=most_queries,
                max_length_k=most_keys,
            )
        size = value.shape[-1]
        if size < query.shape[-1]:  # the function wants one size
            value = functional.pad(value, (0, query.shape[-1] - size))
        output = _varlen()(
            *(states[0].transpose(0, 1) for states in (query, key, value)),
            query_ends,
            key_ends,
            most_queries,
            most_keys,
            call.scale,
        )
        return output[None, :, :, :size]


@functools.cache
def _varlen() -> Callable[..., Any]:
    """Causal attention of [tokens, heads, size] by ends of sequences: torch's, or flash-attn's.

    Raises:
        ValueError: neither is installed.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        pass
    else:

        def by_torch(*states: Any) -> Any:
            *states_and_ends, scale = states
            grouped = states[0].shape[1] != states[1].shape[1]
            output: Any = varlen_attn(
                *states_and_ends, scale=scale, window_size=(-1, 0), enable_gqa=grouped
            )
            return output  # and no second one, for which nobody has asked

        return by_torch
    try:
        from flash_attn import flash_attn_varlen_func
    except ImportError as error:
        raise ValueError("neither torch.nn.attention.varlen nor flash-attn is there") from error
    return lambda *states: flash_attn_varlen_func(
        *states[:-1], softmax_scale=states[-1], causal=True
    )


class Flex(Kernel):
    """``flex_attention`` with a mask of the trees."""

    # Numbers of trees and of parts in them: what no token of a tree has.
    _ROOT: ClassVar[int] = -1
    _BEGINNING: ClassVar[int] = -1

    def __init__(self, trees: Sequence[Tree]) -> None:
        super().__init__(trees)
        self._masks: dict[torch.device, Any] = {}

    def __call__(
        self, call: Call, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """See `Kernel`."""
        if query.device not in self._masks:
            self._masks[query.device] = self._mask(query.shape[2], query.device)
        attend = _flex(query.device.type == "cuda")
        grouped = query.shape[1] != key.shape[1]
        output: torch.Tensor = attend(
            query,
            key,
            value,
            block_mask=self._masks[query.device],
            scale=call.scale,
            enable_gqa=grouped,
        )
        return output.transpose(1, 2)

    def _mask(self, length: int, device: torch.device) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask

        of_tree, of_part = [self._ROOT] * length, [self._BEGINNING] * length
        for number, tree in enumerate(self._trees):
            for part, span in enumerate((tree.beginning, *tree.endings), self._BEGINNING):
                of_tree[span.start : span.stop] = [number] * len(span)
                of_part[span.start : span.stop] = [part] * len(span)
        trees, parts = (torch.tensor(one, device=device) for one in (of_tree, of_part))
        root, beginning = self._ROOT, self._BEGINNING

        def sees(batch: Any, head: Any, one: Any, other: Any) -> torch.Tensor:
            of_own_tree = (trees[other] == trees[one]) & (
                (parts[other] == beginning) | (parts[other] == parts[one])
            )
            return (other <= one) & ((trees[other] == root) | of_own_tree)

        return create_block_mask(sees, None, None, length, length, device=str(device))


@functools.cache
def _flex(compiled: bool) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    if compiled:
        return torch.compile(flex_attention)
    # It says that it is not compiled, which on a CPU is meant so.
    warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
    return flex_attention


KERNELS: dict[str, type[Kernel]] = {PARTS: Parts, VARLEN: Varlen, FLEX: Flex}
