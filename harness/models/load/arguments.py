# SPDX-License-Identifier: Apache-2.0
"""``--model_args`` checked before a model is loaded: lm-eval hands unknown ones to transformers."""

from __future__ import annotations

import difflib
import inspect
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import HarnessError
from harness.models.load.folder_check import check_folder, refuse_adapter_alone

COMMANDS_DEVICE = "cuda:0"
_BACKENDS = ("default", "causal", "seq2seq")
_BATCH_SIZE = re.compile(r"[1-9]\d*|auto(:\d+(\.\d+)?)?")


def check(arguments: Mapping[str, Any]) -> None:
    """Refuse values of lm-eval's ``hf`` arguments that would end in a traceback or do nothing.

    Args:
        arguments: those that the user gave, by name; others than the known ones are left alone.

    Raises:
        HarnessError: naming the argument and what it takes.
    """
    for name in ("dtype", "softmax_dtype", "mixed_precision_dtype", "bnb_4bit_compute_dtype"):
        value = arguments.get(name)
        known = value is None or (name == "dtype" and value == "auto")
        dtype = getattr(torch, str(value).split(".")[-1], None)
        if not known and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            kinds = "float32, bfloat16, float16" + (" or auto" if name == "dtype" else "")
            raise HarnessError(f"{name}={value} is no dtype of torch; it is for example {kinds}")
    for name, least in (("max_length", 2), ("max_batch_size", 1)):
        value = arguments.get(name)
        if value is not None and (not _is_whole(value) or int(value) < least):
            raise HarnessError(f"{name}={value} is no whole number of {least} or more")
    batch_size = arguments.get("batch_size", 1)
    if not _BATCH_SIZE.fullmatch(str(batch_size)):
        raise HarnessError(f"batch_size={batch_size} is neither a whole number above 0 nor auto")
    backend = arguments.get("backend", "default")
    if backend not in _BACKENDS:
        raise HarnessError(f"backend={backend} is unknown; it is one of {', '.join(_BACKENDS)}")
    # lm-eval's command gives this one where the user gives nothing, so it passes everywhere.
    if str(arguments.get("device") or COMMANDS_DEVICE) != COMMANDS_DEVICE:
        check_device(str(arguments["device"]))
    if arguments.get("peft") and arguments.get("delta"):
        raise HarnessError("peft= and delta= do not go together; give one of them")


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value)) is not None


def check_device(device: str, argument: str = "device") -> None:
    """Refuse a device that is not here.

    lm-eval takes one that it does not know for none, and chooses one itself.

    Raises:
        HarnessError: naming it.
    """
    kind, _, index = device.partition(":")
    if device == "cpu" or kind in ("mps", "npu", "xpu", "hpu"):
        return
    if device != "cuda" and not (kind == "cuda" and index.isdigit()):
        raise HarnessError(f"{argument}={device} is unknown; it is for example cpu, cuda:0 or mps")
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise HarnessError(
            f"{argument}={device} is not here: torch sees {count} GPUs; cpu always is"
        )


def parameters(made: type, up_to: type) -> set[str]:
    """The arguments that a class, its bases down to `up_to`, and `up_to` itself take by name."""
    kinds = made.__mro__[: made.__mro__.index(up_to) + 1]
    return {
        parameter.name
        for kind in kinds
        for parameter in inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    } - {"self"}


def refuse_misspelt(arguments: Iterable[str], known: set[str]) -> None:
    """Refuse an argument that is nearly a known one; others go to the model class.

    Raises:
        HarnessError: with the nearest name.
    """
    for name in arguments:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if name not in known and close:
            raise HarnessError(f"--model_args: unknown {name!r}; did you mean {close[0]!r}?")


def folder_or_hub_id(value: str, argument: str) -> str:
    """A model's name as it is loaded, ``~`` expanded; a folder that can't be one is refused.

    Raises:
        HarnessError: it looks like a folder, and there is none; see `check_folder` too.
    """
    value = os.path.expanduser(value)
    hub_like = value.count("/") <= 1 and not value.startswith(("/", "."))
    if not os.path.isdir(value) and (not hub_like or value.endswith("/")):
        raise HarnessError(f"{argument}={value}: there is no such folder")
    if os.path.isdir(value):
        check_folder(Path(value))
        if argument == "pretrained":
            refuse_adapter_alone(Path(value))
    return value


def number(value: Any, argument: str, *, positive: bool) -> float:
    """A finite number that is positive, or at least not negative.

    Raises:
        HarnessError: it is no such number.
    """
    try:
        parsed = float(value)
    except (TypeError, ValueError):
        parsed = math.nan
    if not math.isfinite(parsed) or parsed < 0 or (positive and parsed == 0):
        kind = "a number above 0" if positive else "0 or a positive number"
        raise HarnessError(f"{argument}={value} is not {kind}")
    return parsed
