# SPDX-License-Identifier: Apache-2.0
"""Rotary position embeddings (RoPE) whose angles depend on the longest row of a batch.

Most types rotate a token by its position alone. Two choose their frequencies by the longest
position in the batch: ``longrope`` (Phi-3 128k) takes its long factors for the whole batch once one
row passes the length that the model was first trained at, and ``dynamic`` (NTK) stretches them with
the length, and keeps them for the batches after. The reward of a conversation must depend on
neither its company nor what was scored before it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from harness.models.load.head import adapter_changes_inputs, has_own_code, without_adapter_wrapper

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# transformers' ROPE_INIT_FUNCTIONS that look at no length; a type not listed is held to look.
BY_POSITION = frozenset({"default", "linear", "llama3", "yarn", "proportional"})


class Rope:
    """The rotary embeddings of one model, as they were when it was loaded.

    Attributes:
        limit: rows up to so many tokens are rotated by position alone; None where all are.
    """

    def __init__(self, model: nn.Module) -> None:
        inner: Any = without_adapter_wrapper(model)
        self.limit = _limit(getattr(inner, "config", None))
        if self.limit is not None and adapter_changes_inputs(model):
            self.limit = 0  # virtual tokens in front count too
        self._kept: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]] = []
        if self.limit is None and not has_own_code(inner):
            return
        for module in inner.modules():
            if hasattr(module, "inv_freq") or hasattr(module, "max_seq_len_cached"):
                plain = {key: value for key, value in vars(module).items() if key[:1] != "_"}
                self._kept.append((module, plain, dict(module._buffers)))
        if self.limit is not None:
            logger.warning(
                "%s: its RoPE depends on the longest row of a batch; rows over %d tokens are "
                "batched with rows of equal length only",
                type(inner).__name__,
                self.limit,
            )

    def may_share_batch(self, length: int, other: int) -> bool:
        """Whether rows of these lengths (in tokens) are rotated alike, apart and together."""
        return self.limit is None or length == other or max(length, other) <= self.limit

    def reset(self) -> None:
        """Forget what the batches before have set, as a model just loaded."""
        for module, plain, buffers in self._kept:
            vars(module).update(plain)
            module._buffers.update(buffers)


def _limit(config: Any) -> int | None:
    text: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    limits = []
    for settings in _types(text):
        kind = settings.get("rope_type", settings.get("type", "default"))
        if kind in BY_POSITION:
            continue
        length = {
            "dynamic": getattr(text, "max_position_embeddings", None),
            "longrope": settings.get("original_max_position_embeddings"),
        }.get(str(kind))
        limits.append(int(length or 0))
    return min(limits, default=None)


def _types(config: Any) -> Iterator[Mapping[str, Any]]:
    """The RoPE settings of a config: one, or one for each type of layer."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(settings, Mapping):
        return
    nested = [value for value in settings.values() if isinstance(value, Mapping)]
    yield from nested or [settings]
