# SPDX-License-Identifier: Apache-2.0
"""Reward models that bring their own code: which class it is, and what its forward returns.

Such a class defines its reward by its forward. What that returns has no common name: `read` looks
for one number per conversation, or one per token, under the names that published classes use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dogerm_plugin.anatomy.remote_code import own_class
from harness.errors import HarnessError

# The most telling name first: a class that has .score next to .rewards (several objectives) or
# .logits means it, and .end_scores is the last token's entry of .scores.
FIELDS = ("score", "end_scores", "rewards", "scores", "logits")


def auto_class(source: str, config: Any, trusted: bool) -> Any:
    """The Auto class that loads a checkpoint's own code; None where transformers' own will do.

    Raises:
        HarnessError: its code is not trusted, and transformers has no class of that name.
    """
    import transformers

    own = own_class(config)
    if own is None:
        return None
    auto, name = own
    if not trusted and hasattr(transformers, name):
        return None  # the model was published before transformers took its class in
    if not trusted:
        raise HarnessError(
            f"{source}: its own code ({name}, by auto_map in config.json) says what its reward is; "
            "to run that code give --model_args trust_remote_code=True"
        )
    return getattr(transformers, auto)


def read(output: Any, rows: int, tokens: int) -> tuple[torch.Tensor, bool]:
    """The rewards in what a forward returned for `rows` unpadded conversations of one length.

    Taken are: the first of `FIELDS` that is set; the third of TRL's tuple ``(lm_logits, loss,
    value)``, if the first two are what it says; a bare tensor. One number per conversation is
    [rows] or [rows, 1]; one per token, [rows, tokens] or [rows, tokens, 1], is read at the last
    token.

    Returns:
        Rewards [rows], and whether they came one per token.

    Raises:
        HarnessError: nothing of that form, such as a language model's logits.
    """
    name, value = _find(output, rows, tokens)
    if not isinstance(value, torch.Tensor):
        raise HarnessError(
            f"the model returns {name}; a reward model returns one number per conversation as "
            f"{', '.join('.' + field for field in FIELDS)}, a tensor, or (lm_logits, loss, value)"
        )
    shape = tuple(value.shape)
    if shape in ((rows,), (rows, 1)) or (rows == 1 and shape == ()):
        return value.reshape(rows), False
    if shape in ((rows, tokens), (rows, tokens, 1)):
        return value.reshape(rows, tokens)[:, -1], True
    raise HarnessError(
        f"the model returns {name} of shape {list(shape)} for {rows} conversation of {tokens} "
        "tokens; a reward is one number per conversation or per token: this is a language model, "
        "or a model of several objectives that does not sum them up"
    )


def _find(output: Any, rows: int, tokens: int) -> tuple[str, Any]:
    if isinstance(output, torch.Tensor):
        return "a tensor", output
    if isinstance(output, tuple):
        is_trl = len(output) == 3 and _is_trl(*output[:2], rows, tokens)
        return f"a tuple of {len(output)}", output[2] if is_trl else None
    for field in FIELDS:
        value = output.get(field) if isinstance(output, Mapping) else getattr(output, field, None)
        if value is not None:
            return f".{field}", value
    return f"a {type(output).__name__} without any of them", None


def _is_trl(logits: Any, loss: Any, rows: int, tokens: int) -> bool:
    """Whether a tuple of three begins as TRL's; (logits, cache, states) are three too."""
    if not isinstance(logits, torch.Tensor) or logits.dim() != 3:
        return False
    scalar = loss is None or (isinstance(loss, torch.Tensor) and loss.dim() == 0)
    return logits.shape[:2] == (rows, tokens) and scalar
