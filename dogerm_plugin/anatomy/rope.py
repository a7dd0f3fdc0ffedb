# SPDX-License-Identifier: Apache-2.0
"""Names the rotary embedding of a config that no class can make; transformers says KeyError."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dogerm_plugin.errors import MergeError

_PLACES = ("rope_parameters", "rope_scaling")
_TYPES = ("rope_type", "type")


def refuse_unknown(where: str, config: Mapping[str, Any]) -> None:
    """Refuse a rope type that transformers does not know.

    Asked of a config from which no class could be built: one that could be has no use for the
    entry, or its class knows a type of its own.

    Args:
        where: names the config.
        config: its content.

    Raises:
        MergeError: with the type.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    known = {"default", "mrope", *ROPE_INIT_FUNCTIONS}
    for key, value in _types(config):
        if str(value) not in known:
            raise MergeError(
                f"{where}: {key} is {value!r}, which is no rope type of transformers; known are "
                f"{', '.join(sorted(known))}"
            )


def _types(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Every rope type: of the config, of those inside it, and of each kind of layer."""
    for key, value in config.items():
        if not isinstance(value, Mapping):
            continue
        inside = place or (key if key in _PLACES else "")
        if inside:
            kind = next((value[name] for name in _TYPES if value.get(name) is not None), None)
            if kind is not None:
                yield f"{key}.rope_type" if key == inside else f"{inside}.{key}.rope_type", kind
        yield from _types(value, inside)
