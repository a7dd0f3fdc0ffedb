# SPDX-License-Identifier: Apache-2.0
"""Which of the errors that loading raises are users' mistakes, and their one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError

from harness.errors import HarnessError, first_line

# What loading raises, users' mistakes among it.
LOADING_ERRORS = (
    TypeError,
    ImportError,
    OSError,
    ValueError,
    KeyError,
    SafetensorError,
    UnpicklingError,
)


def explain(error: Exception, pretrained: Any, arguments: Mapping[str, Any]) -> HarnessError | None:
    """The one line for what loading raises at a user's mistake; None for any other error."""
    text = str(error)
    if isinstance(error, SafetensorError):
        return HarnessError(
            f"pretrained={pretrained}: a safetensors file is truncated or damaged "
            f"({first_line(error)}); fetch it again"
        )
    if isinstance(error, UnpicklingError):  # torch's words advise to run what the file holds
        return HarnessError(
            f"pretrained={pretrained}: its pickled weights are damaged, or hold more than tensors, "
            "which may be code: they are not loaded; where you trust their source, convert them "
            "to safetensors"
        )
    if isinstance(error, KeyError):
        return _rope(pretrained)
    if isinstance(error, TypeError):  # an argument that the model class does not take either
        return HarnessError(f"--model_args: {error}") if "keyword argument" in text else None
    if arguments.get("peft") and "adapter_config.json" in text:  # PEFT's ValueError
        return HarnessError(f"peft={arguments['peft']} holds no PEFT adapter: {first_line(error)}")
    if isinstance(error, OSError):  # neither a folder nor a Hub id within reach
        return HarnessError(f"pretrained={pretrained}: can't be loaded ({first_line(error)})")
    if "Unrecognized configuration class" in text:  # ends in a list of all model types
        return HarnessError(f"pretrained={pretrained}: {first_line(error)}")
    for name in ("attn_implementation", "experts_implementation"):
        if name in arguments and (name in text or isinstance(error, ImportError)):
            return HarnessError(f"{name}={arguments[name]}: {first_line(error)}")
    # A package that is not installed; what a checkpoint's own code imports, among it.
    return HarnessError(first_line(error)) if isinstance(error, ImportError) else None


def _rope(pretrained: Any) -> HarnessError | None:
    """The line for a rope type that transformers looks up and does not find."""
    from dogerm_plugin.anatomy import rope
    from dogerm_plugin.errors import MergeError
    from dogerm_plugin.files import json_file

    file = Path(str(pretrained), "config.json")
    try:
        rope.refuse_unknown(str(file), json_file.read_object(file) if file.exists() else {})
    except MergeError as error:
        return HarnessError(str(error))
    return None
