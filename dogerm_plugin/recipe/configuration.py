"""A recipe: whether it is this project's, the models in one order, and what mergekit is handed."""

from __future__ import annotations

import difflib

from mergekit import merge_methods
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration

from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import NAMES, Role
from dogerm_plugin.recipe import roles
from dogerm_plugin.recipe.entries import entries


def is_ours(method: object) -> bool:
    """Whether a `merge_method` is one of this project's, or a misspelling of one.

    A misspelt name is refused by this project in one line; mergekit would print a traceback.
    """
    name = str(method).lower()
    if name.startswith(NAMES):
        return True
    if any(name == other.spec.name for other in merge_methods.registered_methods()):
        return False
    return bool(difflib.get_close_matches(name, registry.names(), cutoff=0.7))


class OrderedConfiguration(MergeConfiguration):
    """A recipe whose models always come in one order: the reward model, the others as written.

    mergekit's own `referenced_models` is a set in hash order, so that the union tokenizer and the
    model card would change with PYTHONHASHSEED.

    Attributes:
        reward_model: where `base_model` is another, and the models have been looked at.
    """

    reward_model: ModelReference | None = None

    def referenced_models(self) -> list[ModelReference]:
        named = [entry.model for entry in entries(self)]
        first = (roles.reward_model(self), self.base_model)
        return list(dict.fromkeys([one for one in (*first, *named) if one is not None]))


def prepared(config: MergeConfiguration) -> OrderedConfiguration:
    """The recipe as it is handed to mergekit: in one order, with what the method needs to know.

    A value written beside a reward model that is `base_model` gets the name by which the method
    knows it, because mergekit itself would ignore it.
    `dtype`, to which mergekit would round the inputs, becomes `out_dtype`: one rounding.
    """
    ours = OrderedConfiguration(**{k: v for k, v in dict(config).items() if v is not None})
    ours = ours.model_copy(deep=True)
    method = registry.of(ours.merge_method)
    beside_base = [one for one in entries(ours) if one.model == ours.base_model]
    for entry in beside_base if method.base is Role.REWARD_MODEL else ():
        for one in method.parameters:
            if one.on_reward_model and one.name in (entry.parameters or {}):
                entry.parameters[one.on_reward_model] = entry.parameters.pop(one.name)
    ours.dtype, ours.out_dtype = None, ours.out_dtype or ours.dtype
    return ours
