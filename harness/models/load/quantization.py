# SPDX-License-Identifier: Apache-2.0
"""``load_in_4bit=True`` and its kin, which transformers 5 takes as one ``BitsAndBytesConfig``.

lm-eval's ``hf`` hands them to ``from_pretrained`` one by one, as transformers 4 wanted them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError

_FLAGS = ("load_in_4bit", "load_in_8bit")
_DETAILS = {"load_in_4bit": "bnb_4bit_", "load_in_8bit": "llm_int8_"}


def options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `arguments` that belong to a ``BitsAndBytesConfig``; empty where none is wanted.

    Raises:
        HarnessError: bitsandbytes is not installed, or the options contradict each other.
    """
    from transformers.utils import is_bitsandbytes_available

    chosen = {
        name: value
        for name, value in arguments.items()
        if name in _FLAGS or name.startswith(tuple(_DETAILS.values()))
    }
    for name in _FLAGS:
        if not isinstance(chosen.get(name, False), bool):
            raise HarnessError(f"{name}={chosen[name]} is neither True nor False")
        prefix = _DETAILS[name]
        without = [key for key in chosen if key.startswith(prefix) and not chosen.get(name)]
        if without:
            raise HarnessError(f"{without[0]}= has no effect without {name}=True")
    wanted = [name for name in _FLAGS if chosen.get(name)]
    if len(wanted) > 1:
        raise HarnessError("load_in_4bit and load_in_8bit do not go together; give one of them")
    if not wanted:
        return {}
    if not is_bitsandbytes_available():
        raise HarnessError(
            f"{wanted[0]}=True needs a recent bitsandbytes: pip install -U bitsandbytes"
        )
    return chosen


def taken_from(arguments: dict[str, Any], name: str) -> dict[str, Any]:
    """The arguments of ``from_pretrained`` with those options replaced by one configuration.

    Args:
        arguments: as lm-eval gives them; ``quantization_config`` is the checkpoint's own, or None.
        name: the checkpoint, for the message.

    Raises:
        HarnessError: as `options`; or the checkpoint is stored quantized.
    """
    chosen = options(arguments)
    kept = {
        key: value
        for key, value in arguments.items()
        if key not in _FLAGS and not key.startswith(tuple(_DETAILS.values()))
    }
    if not chosen:
        return kept
    if kept.get("quantization_config") is not None:
        wanted = next(key for key in _FLAGS if chosen.get(key))
        raise HarnessError(f"{name} is stored quantized already; leave out {wanted}=")
    from transformers import BitsAndBytesConfig

    return {**kept, "quantization_config": BitsAndBytesConfig(**chosen)}
