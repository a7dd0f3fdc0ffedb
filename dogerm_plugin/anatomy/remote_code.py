# SPDX-License-Identifier: Apache-2.0
"""Which class of its own code a checkpoint names for its reward."""

from __future__ import annotations

from typing import Any


def own_class(config: Any) -> tuple[str, str] | None:
    """The Auto class and the class that a checkpoint's ``auto_map`` names for its reward.

    That is the entry of the class in ``architectures``, whichever Auto class it stands under, or
    the one of ``AutoModelForSequenceClassification``; None for a class of transformers.
    """
    entries = {
        str(auto): str(reference).rpartition(".")[2]
        for auto, reference in (getattr(config, "auto_map", None) or {}).items()
        if str(auto).startswith("AutoModel")
    }
    for auto, name in entries.items():
        if name in (config.architectures or ()):
            return auto, name
    name = entries.get("AutoModelForSequenceClassification", "")
    return ("AutoModelForSequenceClassification", name) if name else None
