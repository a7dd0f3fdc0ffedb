# SPDX-License-Identifier: Apache-2.0
"""``peft=``: an adapter with all that its folder holds, put onto the loaded model."""

from __future__ import annotations

import logging
from typing import Any

from dogerm_plugin.anatomy import adapted_model
from dogerm_plugin.anatomy.adapter import Adapter, plain, read
from dogerm_plugin.errors import MergeError
from harness.errors import HarnessError
from harness.models.load.head import head_modules, without_adapter_wrapper

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def named(peft: str, revision: str | None = None) -> Adapter:
    """The adapter that ``peft=`` names.

    Raises:
        HarnessError: there is none, or it can't be read.
    """
    try:
        return read(peft, revision)
    except MergeError as error:
        raise HarnessError(f"peft={peft} holds no PEFT adapter: {error}") from None


def its_own(adapter: Adapter, given: dict[str, Any], template: str | None) -> str | None:
    """Let an adapter's tokenizer and chat template count, where the user names no others.

    Args:
        adapter: of ``peft=``.
        given: the other model arguments; ``tokenizer`` is set in it.
        template: ``chat_template=``, or None.

    Returns:
        The chat template to choose; None for the tokenizer's own.
    """
    if given.get("tokenizer"):
        return template
    if adapter.has_tokenizer:
        given["tokenizer"] = str(adapter.folder)
        logger.info("tokenizer and chat template are those of the adapter %s", adapter.name)
    elif adapter.template is not None and template is None:
        logger.info("the chat template is that of the adapter %s", adapter.name)
        return str(adapter.template)
    return template


def lend_template(tokenizer: Any, pretrained: Any, adapter: Adapter, **options: Any) -> None:
    """Give an adapter's tokenizer that has no chat template the base model's."""
    from transformers import AutoTokenizer

    if tokenizer.chat_template or not adapter.has_tokenizer:
        return
    try:
        tokenizer.chat_template = AutoTokenizer.from_pretrained(pretrained, **options).chat_template
    except Exception:  # the base has no tokenizer, or one that this release doesn't know
        return
    if tokenizer.chat_template:
        logger.warning(
            "the adapter %s has a tokenizer without a chat template: taken is that of %s",
            adapter.name,
            pretrained,
        )


def put_onto(model: Any, adapter: Adapter, tokenizer: Any) -> Any:
    """PEFT's model, its rows and head as the adapter has them.

    Args:
        model: the base model.
        adapter: goes onto it.
        tokenizer: whose tokens must have rows.

    Raises:
        HarnessError: the two don't belong together.
    """
    try:
        adapted_model.fit_rows(model, adapter, tokenizer)
        made = adapted_model.attach(model, adapter)
    except MergeError as error:
        raise HarnessError(f"peft={error}") from None
    keep_digits(made, adapter)
    return made


def forget_base_head(made: Any) -> None:
    """Empty the base's head, which the adapter's stands for: a language model's is random.

    Two models of the same files would else differ in weights that nothing uses.
    """
    for module in head_modules(without_adapter_wrapper(made)).values():
        for name, parameter in module.named_parameters():
            if name.startswith("original_module."):
                parameter.data.zero_()


def keep_digits(made: Any, adapter: Adapter, name: str = adapted_model.FIRST) -> None:
    """Give the head the numbers that the adapter stores, in their dtype, where that is finer.

    Args:
        made: PEFT's model.
        adapter: one that it has.
        name: what PEFT calls it.
    """
    base = without_adapter_wrapper(made)
    stored = adapter.tensors(adapter.head(str(base.base_model_prefix)))
    for path, parameter in made.named_parameters():
        key = plain(path.replace(f".{name}.", f".{adapted_model.FIRST}."))
        others = name != adapted_model.FIRST and f".{name}." not in path
        if others or ".original_module." in path or key not in stored:
            continue
        tensor = stored[key]
        if tensor.is_floating_point() and tensor.element_size() > parameter.element_size():
            base.head_loaded_in = parameter.dtype
            parameter.data = tensor.to(parameter.device)
