# SPDX-License-Identifier: Apache-2.0
"""A recipe's YAML with other settings of its method's parameters: one point of a study, as a merge.

A setting is what mergekit takes: a number, a gradient over the layers, or conditions such as
`groups.setting` gives.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Role
from dogerm_plugin.methods.parameter import Scope
from dogerm_plugin.recipe.roles import domain_entries, is_marked


def written(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The content with these settings, in the places where the method looks for them.

    What the recipe says of the same parameters elsewhere goes, for it would contradict: above the
    models, and beside a reward model whose share follows from the others. A reward model that has
    one as the others do keeps its own, be it written beside it or above.

    Args:
        content: a recipe with `models:`, as YAML gives it; is not changed.
        values: parameter -> setting; for one that each domain model has, a sequence with a setting
            for each, in the recipe's order. Parameters that are left out stay as they are.

    Raises:
        MergeError: no such method or parameter, or other counts than domain models.
    """
    method = registry.of(str(content.get("merge_method")))
    made = copy.deepcopy(dict(content))
    domain = domain_entries(made)
    holders = [made, *made["models"]]
    others = [one for one in made["models"] if not any(one is other for other in domain)]
    keeps = others if method.base is not Role.REWARD_MODEL else []
    for name, setting in values.items():
        if name not in method.by_name:
            close = suggest(name, method.by_name)
            raise MergeError(f"{method.name}: unknown parameter {name!r}{close}")
        of_merge = method.by_name[name].scope is Scope.MERGE
        settings = [setting] if of_merge else list(setting)
        owners = [made] if of_merge else domain
        if len(settings) != len(owners):
            raise MergeError(
                f"{name}: {len(settings)} settings, and the recipe has {len(owners)} domain models"
            )
        above = (made.get("parameters") or {}).get(name)
        for holder in holders:
            holder["parameters"] = dict(holder.get("parameters") or {})
            if not any(holder is one for one in keeps) or of_merge:
                holder["parameters"].pop(name, None)
            elif above is not None and is_marked(holder):
                holder["parameters"].setdefault(name, above)
        for owner, one in zip(owners, settings, strict=True):
            owner["parameters"][name] = one
    for holder in holders:
        if not holder.get("parameters", True):
            del holder["parameters"]
    return made
