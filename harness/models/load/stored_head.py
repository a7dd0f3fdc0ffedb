# SPDX-License-Identifier: Apache-2.0
"""A reward head's own numbers, where the checkpoint stores them finer than the body.

TRL and others save a bfloat16 body with a float32 head. ``from_pretrained(dtype=...)`` has one
dtype for both: a head rounded to bfloat16 is off by up to 0.4 %, and float32 arithmetic afterwards
cannot make that good.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from harness.models.load.head import float32_modules
from harness.models.load.stored_tensors import tensors

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def restore(model: Any, pretrained: str, on_disk: Mapping[str, str], **options: Any) -> None:
    """Give a loaded head the stored numbers, in their dtype, where that is finer than its own.

    Sets ``model.head_loaded_in``, the dtype that it was loaded in, where anything was restored.

    Args:
        model: a reward model, not yet wrapped by an adapter.
        pretrained: the folder or Hub id that it was loaded from.
        on_disk: parameter names to names on disk, where these differ.
        options: the arguments of ``from_pretrained``.
    """
    coarse = {
        f"{name}.{key}": parameter
        for name, module in float32_modules(model).items()
        for key, parameter in module.named_parameters()
        if parameter.is_floating_point() and parameter.element_size() < 4 and not parameter.is_meta
    }
    if not coarse or options.get("gguf_file") or options.get("variant"):
        return
    wanted = {on_disk.get(name, name): parameter for name, parameter in coarse.items()}
    try:
        stored = tensors(pretrained, wanted, options)
    except Exception as error:  # damaged or out of reach: loading has managed, so it goes on
        logger.warning("%s: its reward head keeps the dtype it loads in (%s)", pretrained, error)
        return
    for name, tensor in stored.items():
        parameter = wanted[name]
        finer = tensor.is_floating_point() and tensor.element_size() > parameter.element_size()
        if finer and tensor.shape == parameter.shape:
            model.head_loaded_in = parameter.dtype
            parameter.data = tensor.to(parameter.device)
