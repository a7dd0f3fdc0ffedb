# SPDX-License-Identifier: Apache-2.0
"""The models that a recipe names, wherever it does: in `models:`, `slices:` or `modules:`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mergekit.config import MergeConfiguration


def lists(config: MergeConfiguration) -> Iterator[tuple[str, list[Any]]]:
    """Each list of models that are merged with one another, and where the recipe has it."""
    yield "models", config.models or []
    for number, piece in enumerate(config.slices or []):
        yield f"slices.{number}.sources", piece.sources
    for name, module in (config.modules or {}).items():
        yield f"modules.{name}.models", module.models or []
        for number, piece in enumerate(module.slices or []):
            yield f"modules.{name}.slices.{number}.sources", piece.sources


def entries(config: MergeConfiguration) -> list[Any]:
    """Every model entry of a recipe, as written."""
    return [entry for _, models in lists(config) for entry in models]
