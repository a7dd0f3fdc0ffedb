# SPDX-License-Identifier: Apache-2.0
"""The models that a recipe names, wherever it does: in `models:`, `slices:` or `modules:`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mergekit.common import ModelReference
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


def as_written(
    model: ModelReference, config: MergeConfiguration, found: MergeConfiguration
) -> ModelReference:
    """A model by the name that the user's recipe has for it: with its adapter, as the path is.

    Args:
        model: of `found`.
        config: the recipe as it is written.
        found: the recipe as mergekit is handed it.
    """
    names = [config.base_model, *(entry.model for entry in entries(config))]
    handed = [found.base_model, *(entry.model for entry in entries(found))]
    name = names[handed.index(model)]
    assert name is not None
    return name
