# SPDX-License-Identifier: Apache-2.0
"""The reward head of a sequence-classification model: where it is, and how it is run in float32.

The head is what lies outside the class's ``base_model_prefix``; no list of names. A bfloat16 head
rounds rewards to 8 bits: at a mean reward of 25 every twentieth pair is a tie. So the head runs in
float32: where body and head are run apart, on the pooled state, a single row per conversation;
where the model's own forward is used, on whatever that forward gives it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def without_adapter_wrapper(model: Any) -> Any:
    """The model class itself, whose modules hold the adapters, for a PEFT model; else `model`."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def adapter_changes_inputs(model: Any) -> bool:
    """Whether a PEFT adapter changes what the model is given rather than its modules.

    Prompt tuning and its kin do: there, only the wrapper's own forward is right.
    """
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def head_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The direct children with parameters that lie outside the body, by name; no LM head."""
    prefix = getattr(model, "base_model_prefix", "")
    find_output: Any = getattr(model, "get_output_embeddings", None)
    output = find_output() if find_output is not None else None
    return {
        name: child
        for name, child in model.named_children()
        if name != prefix and child is not output and next(child.parameters(), None) is not None
    }


def body_of(model: nn.Module) -> nn.Module | None:
    """The body, which the class's ``base_model_prefix`` names; None where it has none."""
    return getattr(model, getattr(model, "base_model_prefix", "") or "_", None)


def float32_modules(model: nn.Module) -> dict[str, nn.Module]:
    """What of `head_modules` may compute in float32.

    With a checkpoint's own code only a single module beside a body: which of several may is not
    ours to know.
    """
    heads = head_modules(model)
    known = not has_own_code(model) or (len(heads) == 1 and body_of(model) is not None)
    return heads if known else {}


def has_own_code(model: nn.Module) -> bool:
    """Whether a model's class came with the checkpoint (``trust_remote_code=True``)."""
    inner = without_adapter_wrapper(model)
    return bool(getattr(type(inner), "_auto_class", None))


def check_single_reward(model: nn.Module) -> None:
    """Refuse a head that does not give one number per conversation, the higher the better.

    A checkpoint's own code may leave ``num_labels`` as it was: there, what it returns is checked.

    Raises:
        HarnessError: ``num_labels`` is not 1, or the model scores harm (safe-rlhf's cost models).
    """
    refuse_costs(model)
    labels = getattr(getattr(model, "config", None), "num_labels", 1)
    if labels == 1 or has_own_code(model):
        return
    shapes = ", ".join(
        f"{name}.{key} {list(parameter.shape)}"
        for name, module in head_modules(without_adapter_wrapper(model)).items()
        for key, parameter in module.named_parameters()
    )
    raise HarnessError(several_labels(labels, shapes))


def several_labels(labels: int, shapes: str) -> str:
    """What is said of a head of several numbers where one reward is wanted."""
    return (
        f"the model has num_labels={labels} ({shapes or 'no head'}); a reward model gives one "
        "number per conversation: its head must be [1, hidden size] and its config must say "
        "num_labels=1, or each label is a reward (reward_heads): then say what they make together "
        "with combine=mean, min, mean-std or rank-mean, or weighted"
    )


def check_several_rewards(model: nn.Module, rule: str) -> list[str]:
    """Refuse a model that does not give several rewards per conversation; their names.

    Args:
        model: loaded.
        rule: ``combine=``, for messages.

    Raises:
        HarnessError: one label, a checkpoint's own code, or a model that scores harm.
    """
    refuse_costs(model)
    if has_own_code(model):
        raise HarnessError(
            f"combine={rule}: the checkpoint comes with its own code, which alone knows what its "
            "numbers are; combine= is for the labels of transformers' own classes"
        )
    config: Any = getattr(model, "config", None)
    if config.num_labels == 1:
        raise HarnessError(
            f"combine={rule}: the model has one head, so there is nothing to combine: leave it "
            "out, or name several checkpoints with --model reward-ensemble"
        )
    return [str(config.id2label[number]) for number in range(config.num_labels)]


def refuse_costs(model: nn.Module) -> None:
    """Refuse a model whose config says that it scores harm (safe-rlhf's cost models).

    Raises:
        HarnessError: its scores are the wrong way round.
    """
    score_type = getattr(getattr(model, "config", None), "score_type", None) or "reward"
    if score_type != "reward":
        raise HarnessError(
            f"config.json says score_type={score_type}, so it is no reward model: of a cost model "
            "(safe-rlhf) a higher score is worse, and every comparison would be the wrong way round"
        )


def run_in_float32(module: nn.Module) -> bool:
    """Make `module` compute in float32 whatever its input or an autocast says; False if it cannot.

    A quantized or offloaded head keeps its own dtype.
    """
    for parameter in module.parameters():
        if parameter.is_meta or not parameter.is_floating_point():
            logger.warning("the reward head is quantized or offloaded: it stays in its own dtype")
            return False
    module.float()
    original = module.forward

    @functools.wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        device = next(module.parameters()).device.type
        with torch.autocast(device, enabled=False):
            return original(
                *[_to_float32(value) for value in args],
                **{key: _to_float32(value) for key, value in kwargs.items()},
            )

    module.forward = forward
    return True


def leave_float32(modules: Iterable[nn.Module], dtype: torch.dtype) -> Callable[[], None]:
    """Undo `run_in_float32`: the modules compute in `dtype`, that of the body, as they were loaded.

    Returns:
        What puts them back into float32, with all their digits.
    """
    before = [(module, module.forward) for module in modules]
    digits = [(one, one.data) for module, _ in before for one in module.parameters()]
    for module, forward in before:
        module.forward = forward.__wrapped__  # type: ignore[attr-defined]
        module.to(dtype)

    def back() -> None:
        for module, forward in before:
            module.forward = forward
        for parameter, data in digits:
            parameter.data = data

    return back


def _to_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.float()
    return value
