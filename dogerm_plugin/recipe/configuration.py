"""A recipe: whether it is this project's, the models in one order, and what mergekit is handed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from mergekit import merge_methods
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration

from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import PREFIX
from dogerm_plugin.recipe import roles


def is_ours(method: object) -> bool:
    """Whether a `merge_method` is one of this project's, or a misspelling of one.

    A misspelt name is refused by this project in one line; mergekit would print a traceback.
    """
    name = str(method).lower()
    if name.startswith(PREFIX):
        return True
    if any(name == other.spec.name for other in merge_methods.registered_methods()):
        return False
    return bool(difflib.get_close_matches(name, registry.names(), cutoff=0.7))


class OrderedConfiguration(MergeConfiguration):
    """A recipe whose models always come in one order: the reward model, then as written.

    mergekit's own `referenced_models` is a set in hash order, so that the union tokenizer and the
    model card would change with PYTHONHASHSEED.
    """

    def referenced_models(self) -> list[ModelReference]:
        first = roles.reward_model(self)
        named = [entry.model for entry in entries(self)]
        return list(dict.fromkeys([first, *named] if first else named))


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

    A value written beside the reward model gets the name by which the method knows it, because
    mergekit itself would ignore it.
    `dtype`, to which mergekit would round the inputs, becomes `out_dtype`: one rounding.
    """
    ours = OrderedConfiguration(**{k: v for k, v in dict(config).items() if v is not None})
    ours = ours.model_copy(deep=True)
    reward = roles.reward_model(ours)
    for entry in entries(ours):
        for one in registry.of(ours.merge_method).parameters if entry.model == reward else ():
            if one.on_reward_model and one.name in (entry.parameters or {}):
                entry.parameters[one.on_reward_model] = entry.parameters.pop(one.name)
    ours.dtype, ours.out_dtype = None, ours.out_dtype or ours.dtype
    return ours
