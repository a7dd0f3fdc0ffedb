# SPDX-License-Identifier: Apache-2.0
"""Attention inside the trees of a pack: each part of a tree by itself, with the keys that it sees.

One mask over the whole sequence would cost time and memory in its square. Instead the model's own
attention function, which transformers looks up by name in `ALL_ATTENTION_FUNCTIONS`, is called for
each beginning and each ending in turn.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.models.score.tree import Span, Tree

# What this is known to work with: functions that take a mask of any shape.
SDPA, EAGER = "sdpa", "eager"

Attention = Callable[..., tuple[torch.Tensor, Any]]


@contextmanager
def attention_within(trees: Sequence[Tree]) -> Iterator[None]:
    """Models that this thread runs meanwhile attend within these trees; their masks don't count."""
    before = _within.set(_Within(trees))
    _registered.enter()
    try:
        yield
    finally:
        _registered.leave()
        _within.reset(before)


class _Registered:
    """The functions in transformers' registry, which all threads share.

    The first thread that needs them puts them there, the last one takes them away; in a thread that
    has no trees they are what was there before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: dict[str, Attention | None] = {}

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = {name: ALL_ATTENTION_FUNCTIONS.get(name) for name in (SDPA, EAGER)}
                for name, original in self._before.items():
                    ALL_ATTENTION_FUNCTIONS[name] = _by_thread(original)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside:
                return
            for name, original in self._before.items():
                del ALL_ATTENTION_FUNCTIONS[name]
                if ALL_ATTENTION_FUNCTIONS.get(name) is not original:
                    ALL_ATTENTION_FUNCTIONS[name] = original


_registered = _Registered()


def _by_thread(original: Attention | None) -> Attention:
    """Attention within this thread's trees, by `original`; the module's own eager one if None."""

    def attend(module: torch.nn.Module, *states: Any, **options: Any) -> tuple[torch.Tensor, Any]:
        run = original or sys.modules[type(module).__module__].eager_attention_forward
        within = _within.get()
        if within is None:
            output: tuple[torch.Tensor, Any] = run(module, *states, **options)
            return output
        return within.attend(run, original is not None, module, *states, **options)

    return attend


class _Within:
    def __init__(self, trees: Sequence[Tree]) -> None:
        self._trees = trees
        self._length = max(span.stop for tree in trees for span in tree.endings)
        self._masks: dict[tuple[Any, ...], torch.Tensor] = {}

    def attend(
        self,
        run: Attention,
        causal: bool,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **options: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attention by `run`, which is `causal` by itself where it gets no mask."""
        shapes = {(tensor.shape[0], tensor.shape[2]) for tensor in (query, key, value)}
        if shapes != {(1, self._length)} or options.get("position_bias") is not None:
            raise ValueError("attention is not from token to token of the sequence alone")
        spans = [span for span, _ in self._parts()]
        of_query, of_key, of_value = (_taker(one, spans) for one in (query, key, value))
        parts = []
        for span, seen in self._parts():
            mask = self._mask(len(span), seen, query, causal=causal)
            given = of_query([span]), of_key(seen), of_value(seen)
            output, _ = run(module, *given, mask, **options)
            parts.append(output)
        return torch.cat(parts, dim=1), None

    def _parts(self) -> Iterator[tuple[Span, list[Span]]]:
        """Each part in the order of the sequence, and what it sees, itself last."""
        root = self._trees[0].root
        if len(root):
            yield root, [root]
        for tree in self._trees:
            if len(tree.beginning):
                yield tree.beginning, [root, tree.beginning]
            for ending in tree.endings:
                if len(ending):
                    yield ending, [root, tree.beginning, ending]

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


_within: ContextVar[_Within | None] = ContextVar("trees of a pack", default=None)


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
