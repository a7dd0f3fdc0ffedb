# SPDX-License-Identifier: Apache-2.0
"""A language model's head kept in a reward model's checkpoint, for a later stage to imitate with.

A head that is tied to the embedding is there already; another one a reward model has no place for.
"""

from __future__ import annotations

from typing import Any

from harness.training.trainer import load_model


def carry_head(model: Any, source: str) -> None:
    """Make the language model's head of `source` a part of a reward model, saved with it.

    Args:
        model: of transformers'; left as it is where it has that head already.
        source: folder or Hub id of the model that the reward model was trained from.

    Raises:
        HarnessError: not found or not readable.
    """
    from transformers import AutoModelForCausalLM

    causal = load_model(AutoModelForCausalLM, source, "float32")
    head = causal.get_output_embeddings()
    name = next(name for name, module in causal.named_modules() if module is head)
    if head.weight is not causal.get_input_embeddings().weight and not hasattr(model, name):
        model.add_module(name, head)
