# SPDX-License-Identifier: Apache-2.0
"""Experts as ``--model_args`` name them: ``A;B;C``, or ``math=A;code=B``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

_SEPARATOR = ";"


def named_places(experts: Any, argument: str = "pretrained") -> dict[str, str]:
    """Place by name of ``A;B``, ``a=A;b=B``, a list of places or a mapping.

    Raises:
        HarnessError: two have one name, or one has no place.
    """
    if isinstance(experts, Mapping):
        return {str(name): str(place) for name, place in experts.items()}
    listed = experts.split(_SEPARATOR) if isinstance(experts, str) else list(experts)
    pairs = []
    for one in listed:
        name, equals, place = str(one).strip().rpartition("=")
        pairs.append((name.strip() if equals else _last_part(place), place.strip()))
    named = dict(pairs)
    if len(named) < len(pairs) or not all(named.values()):
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), "")
        raise HarnessError(
            f"{argument}={experts}: "
            + (f"two experts are called {twice}" if twice else "an expert has no place")
            + f"; write --model_args '{argument}=math=FOLDER;code=FOLDER', or a router.yml, which "
            "takes folders with ';' and '=' in their names, too"
        )
    return named


def _last_part(place: str) -> str:
    return Path(place.rstrip("/")).name
