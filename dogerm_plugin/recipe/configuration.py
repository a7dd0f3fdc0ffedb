"""A recipe: this project's methods, the models in one order, and what mergekit is handed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from mergekit import merge_methods
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration

PREFIX = "reward_preserving_"


def method_names() -> list[str]:
    """This project's methods that mergekit knows at the moment."""
    names = (method.spec.name for method in merge_methods.registered_methods())
    return sorted(name for name in names if name.startswith(PREFIX))


def is_ours(method: object) -> bool:
    """Whether a `merge_method` is one of this project's, or a misspelling of one.

    A misspelt name is refused by this project in one line; mergekit would print a traceback.
    """
    name = str(method).lower()
    if name.startswith(PREFIX):
        return True
    if any(name == other.spec.name for other in merge_methods.registered_methods()):
        return False
    return bool(difflib.get_close_matches(name, method_names(), cutoff=0.7))


class OrderedConfiguration(MergeConfiguration):
    """A recipe whose models always come in one order: the reward model, then as written.

    mergekit's own `referenced_models` is a set in hash order, so that the union tokenizer and the
    model card would change with PYTHONHASHSEED.
    """

    def referenced_models(self) -> list[ModelReference]:
        seen: dict[ModelReference, None] = {}
        if self.base_model:
            seen[self.base_model] = None
        for entry in entries(self):
            seen[entry.model] = None
        return list(seen)


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
    """Every model entry of a recipe, in `models:`, `slices:` or `modules:`, as written."""
    return [entry for _, models in lists(config) for entry in models]


def prepared(config: MergeConfiguration) -> OrderedConfiguration:
    """The recipe as it is handed to mergekit: in one order, with what the method needs to know.

    A `weight` on the reward model becomes `own_weight`, because mergekit itself would ignore it.
    `dtype`, to which mergekit would round the inputs, becomes `out_dtype`: one rounding.
    """
    ours = OrderedConfiguration(**{k: v for k, v in dict(config).items() if v is not None})
    ours = ours.model_copy(deep=True)
    for entry in entries(ours):
        if entry.model == ours.base_model and "weight" in (entry.parameters or {}):
            entry.parameters["own_weight"] = entry.parameters.pop("weight")
    ours.dtype, ours.out_dtype = None, ours.out_dtype or ours.dtype
    return ours
