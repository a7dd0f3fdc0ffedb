# SPDX-License-Identifier: Apache-2.0
"""The language model's head beside the reward head: one trunk, one forward, two heads.

The head stays in its own class of transformers, so that what that class does with the logits (a
scale, a soft cap) is done here, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.training.trainer import load_model

CHUNK = 1024  # positions whose logits are in memory at a time
IGNORED = -100


class LanguageHead:
    """Log-probabilities of tokens from the trunk's hidden states.

    Args:
        causal: the language model; its trunk is taken out of it.

    Attributes:
        tied: the head's weight is the trunk's embedding.
        module: the output layer.
        name: what its class calls it.
    """

    def __init__(self, causal: Any) -> None:
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPast

        class Given(torch.nn.Module):
            """In the trunk's place: the states that it has given already."""

            states: Any = None

            def forward(self, *args: Any, **kwargs: Any) -> Any:
                return BaseModelOutputWithPast(last_hidden_state=self.states)

        trunk = getattr(causal, causal.base_model_prefix)
        self.module = causal.get_output_embeddings()
        self.tied = self.module.weight is trunk.get_input_embeddings().weight
        named = causal.named_modules()
        self.name = next(name for name, module in named if module is self.module)
        self._given = Given()
        setattr(causal, causal.base_model_prefix, self._given)
        self._causal = causal

    def logits(self, states: Any) -> Any:
        """Logits of states [n, hidden size], in float32 or finer: [n, vocabulary]."""
        import torch

        self._causal.to(states.device)  # a frozen head is no part of what the trainer moves
        self._given.states = states[None]
        try:
            logits = self._causal(inputs_embeds=states[None]).logits[0]
            return logits.to(torch.promote_types(logits.dtype, torch.float32))
        finally:
            self._given.states = None

    def token_log_probs(self, states: Any, labels: Any) -> Any:
        """log p of each label given what stands before it: [rows, length], 0 where ignored.

        Logits are computed where a label is, a chunk at a time, and again on the way back: those
        of a whole batch would be many times the model.

        Args:
            states: of the trunk, [rows, length, hidden size].
            labels: token ids, or -100, [rows, length]; that at position t is predicted from t - 1.
        """
        import torch
        from torch.utils.checkpoint import checkpoint

        def of_chunk(some: Any, wanted: Any) -> Any:
            return torch.log_softmax(self.logits(some), -1).gather(-1, wanted[:, None])[:, 0]

        labels = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
        at = labels != IGNORED
        chosen, wanted = states[at], labels[at]
        parts = [
            checkpoint(of_chunk, *chunk, use_reentrant=False)
            for chunk in zip(chosen.split(CHUNK), wanted.split(CHUNK), strict=True)
        ]
        if not parts:
            return torch.zeros(labels.shape, device=states.device)
        found = parts[0].new_zeros(labels.shape)
        return found.masked_scatter(at, torch.cat(parts))

    def put_on(self, model: Any) -> None:
        """Make an untied head a part of a reward model, saved with it under its own name."""
        if not self.tied:
            model.add_module(self.name, self.module)

    def declare(self, folder: Path) -> None:
        """Say in a saved reward model's config.json that it is a language model, too.

        The reward model's class stays the first.
        """
        file = folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        config["architectures"] += [type(self._causal).__name__]
        file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self._causal.generation_config.save_pretrained(folder)


def language_head(source: str, dtype: str) -> tuple[LanguageHead, Any]:
    """The language model's head of a folder or Hub id, and the trunk that was below it.

    Raises:
        HarnessError: not found or not readable, or without a head.
    """
    from transformers import AutoModelForCausalLM

    from harness.models.language_model import LanguageModelLoader, refuse_random_head

    loader = LanguageModelLoader(AutoModelForCausalLM)
    causal = load_model(loader, source, dtype)
    refuse_random_head(loader, causal.config, source, "start from a language model", {})
    trunk = getattr(causal, causal.base_model_prefix)
    return LanguageHead(causal), trunk


def put_beside(model: Any, source: str, dtype: str, *, trained: bool) -> LanguageHead:
    """The language model's head of `source` beside a reward model's, on the reward model's trunk.

    The trunk of the language model is the one that both have from then on.

    Args:
        model: the reward model, without an adapter yet.
        source: folder or Hub id that it was loaded from.
        dtype: of the weights.
        trained: register an untied head with the model, so that it is trained and saved with it.

    Raises:
        HarnessError: not found or not readable, or without a head.
    """
    head, trunk = language_head(source, dtype)
    setattr(model, model.base_model_prefix, trunk)
    head.module.requires_grad_(trained)
    if trained:
        head.put_on(model)
    return head


@contextmanager
def captured(trunk: Any) -> Iterator[list[Any]]:
    """The hidden states of each forward of a trunk, in a list that grows."""
    states: list[Any] = []
    hook = trunk.register_forward_hook(lambda _, __, output: states.append(output[0]))
    try:
        yield states
    finally:
        hook.remove()
