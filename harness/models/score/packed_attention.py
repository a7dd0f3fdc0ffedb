# SPDX-License-Identifier: Apache-2.0
"""Attention inside the trees of a pack, in place of a model's own.

transformers looks the attention function of a model up by name in `ALL_ATTENTION_FUNCTIONS`. For
the time of a pass the functions there are replaced by ones that keep to the trees of the pack that
this thread runs; how is a kernel's matter (`harness.models.score.tree_kernels`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.models.score.tree import Tree
from harness.models.score.tree_attention import Attention, Call, Kernel
from harness.models.score.tree_kernels import FLEX, KERNELS, PARTS, VARLEN

SDPA, EAGER, FLEX_ATTENTION = "sdpa", "eager", "flex_attention"


def is_flash(attention: str | None) -> bool:
    """Whether a model's attention is one of transformers' flash functions, or a hub's kernel."""
    return attention is not None and "flash" in attention


def can_pack(attention: str | None) -> bool:
    """Whether this is known to work with a model's attention, by its name in transformers."""
    return attention in (SDPA, EAGER, FLEX_ATTENTION) or is_flash(attention)


def choices(attention: str | None, device: torch.device) -> tuple[str, ...]:
    """The kernels to try for a model's attention, the best first; see `tree_kernels`.

    Which of two is faster is not measured here: the rewards of two runs would then differ by more
    than a run.
    """
    if attention == FLEX_ATTENTION:
        return (FLEX,)
    return (VARLEN, PARTS) if device.type == "cuda" and attention != EAGER else (PARTS,)


@contextmanager
def attention_within(trees: Sequence[Tree], kernel: str = PARTS) -> Iterator[None]:
    """Models that this thread runs meanwhile attend within these trees; their masks don't count."""
    before = _within.set(_Within(trees, KERNELS[kernel](trees)))
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
                names = {SDPA, EAGER, *filter(can_pack, ALL_ATTENTION_FUNCTIONS)}
                self._before = {name: ALL_ATTENTION_FUNCTIONS.get(name) for name in names}
                for name, original in self._before.items():
                    ALL_ATTENTION_FUNCTIONS[name] = _by_thread(name, original)
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


def _by_thread(name: str, original: Attention | None) -> Attention:
    """Attention within this thread's trees, by `original`; the module's own eager one if None."""

    def attend(module: torch.nn.Module, *states: Any, **options: Any) -> tuple[torch.Tensor, Any]:
        run = original or sys.modules[type(module).__module__].eager_attention_forward
        within = _within.get()
        if within is None:
            output: tuple[torch.Tensor, Any] = run(module, *states, **options)
            return output
        options.pop("attention_mask", None)  # by name or by place, it is not looked at
        call = Call(run, module, options, is_flash(name), causal=original is not None)
        return within.attend(call, *states[:3])

    return attend


class _Within:
    def __init__(self, trees: Sequence[Tree], kernel: Kernel) -> None:
        self._length = max(span.stop for tree in trees for span in tree.endings)
        self._kernel = kernel

    def attend(
        self, call: Call, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        shapes = {(tensor.shape[0], tensor.shape[2]) for tensor in (query, key, value)}
        if shapes != {(1, self._length)} or call.options.get("position_bias") is not None:
            raise ValueError("attention is not from token to token of the sequence alone")
        return self._kernel(call, query, key, value), None


_within: ContextVar[_Within | None] = ContextVar("trees of a pack", default=None)
