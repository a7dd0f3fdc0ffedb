# SPDX-License-Identifier: Apache-2.0
"""Attention within the trees of a pack by the model's own function, part by part.

One mask over the whole sequence would cost time and memory in its square. Instead the function is
called for each beginning and each ending in turn, with the keys that it sees. No work is lost,
whatever the function; but each part of each layer is a call, which an accelerator feels and a CPU
does not. `harness.models.score.tree_kernels` has other ways.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.models.score.tree import Span, Tree, parts

Attention = Callable[..., tuple[torch.Tensor, Any]]

# What a model or a trainer tells flash functions about a sequence of several rows.
_OF_SEQUENCES = ("position_ids", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")

# What changes the scores, beyond their scale; a kernel of our own choice must not leave it out.
_OF_SCORES = ("softcap", "s_aux", "position_bias")


@dataclass(frozen=True)
class Call:
    """What a model asks of its attention function, but for queries, keys and values.

    Attributes:
        run: the function, as transformers has it: module, query, key, value [1, heads, tokens,
            size] and a mask in, [1, tokens, heads, size] out.
        module: the layer.
        options: its keyword arguments.
        flash: it takes no mask but padding's, and sequences of unlike lengths in one call.
        causal: without a mask the tokens see what stands before them; in a flash function also
            where there are more keys than queries, which are then the last.
    """

    run: Attention
    module: torch.nn.Module
    options: dict[str, Any]
    flash: bool
    causal: bool

    def own(self, *states: torch.Tensor, mask: torch.Tensor | None, **more: Any) -> torch.Tensor:
        """The model's own function; a flash one is not told of what the pack is made of."""
        options = self.options
        if self.flash:
            options = {key: value for key, value in options.items() if key not in _OF_SEQUENCES}
        return self.run(self.module, *states, mask, **options, **more)[0]

    @property
    def scale(self) -> float | None:
        """Of the scores; None for one by the root of the size.

        Raises:
            ValueError: the scores are changed in other ways.
        """
        for name in _OF_SCORES:
            if self.options.get(name) is not None:
                raise ValueError(f"attention has {name}")
        return self.options.get("scaling")


class Kernel:
    """Attention of one pack, layer after layer.

    Args:
        trees: of the pack.
    """

    def __init__(self, trees: Sequence[Tree]) -> None:
        self._trees = trees
        self._parts = list(parts(trees))

    def __call__(
        self, call: Call, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """The attention's output [1, tokens, heads, size]; states as in `Call`."""
        raise NotImplementedError


class Parts(Kernel):
    """The model's own function for each part in turn."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        super().__init__(trees)
        self._masks: dict[tuple[Any, ...], torch.Tensor] = {}

    def __call__(
        self, call: Call, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """See `Kernel`."""
        spans = [span for span, _ in self._parts]
        of_query, of_key, of_value = (_taker(one, spans) for one in (query, key, value))
        outputs = []
        for span, seen in self._parts:
            mask = None if call.flash else self._mask(len(span), seen, query, causal=call.causal)
            outputs.append(call.own(of_query([span]), of_key(seen), of_value(seen), mask=mask))
        return torch.cat(outputs, dim=1)

    def _mask(
        self, tokens: int, seen: Sequence[Span], query: torch.Tensor, *, causal: bool
    ) -> torch.Tensor | None:
        """What is added to the scores [1, 1, tokens, seen]: 0 where a token sees another.

        It sees all of what stands before its part, and of its part itself and what is before it;
        None where that is what the function does by itself (`causal`).
        """
        before = sum(map(len, seen)) - tokens
        if before == 0 and causal:
            return None
        form = tokens, before, query.device, query.dtype
        if form not in self._masks:
            hidden = torch.full(
                (tokens, before + tokens), torch.finfo(query.dtype).min, dtype=query.dtype
            )
            self._masks[form] = hidden.triu(before + 1).to(query.device)[None, None]
        return self._masks[form]


def _taker(tensor: torch.Tensor, spans: Sequence[Span]) -> Callable[[list[Span]], torch.Tensor]:
    """What takes the tokens of some of these spans, which follow each other, out of a tensor."""
    if not tensor.requires_grad:
        return lambda taken: _taken(tensor, taken)
    # Cut once: the gradient of each slice by itself would be as large as the tensor.
    pieces = tensor.split([len(span) for span in spans], dim=2)
    of = dict(zip((span.start for span in spans), pieces, strict=True))

    def take(taken: list[Span]) -> torch.Tensor:
        some = [of[span.start] for span in taken if len(span)]
        return some[0] if len(some) == 1 else torch.cat(some, dim=2)

    return take


def _taken(tensor: torch.Tensor, spans: Sequence[Span]) -> torch.Tensor:
    """The tokens of some spans; a view where they stand side by side."""
    spans = [span for span in spans if len(span)]
    if all(one.stop == next_.start for one, next_ in itertools.pairwise(spans)):
        return tensor[:, :, spans[0].start : spans[-1].stop]
    return torch.cat([tensor[:, :, span.start : span.stop] for span in spans], dim=2)
