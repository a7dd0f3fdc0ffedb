# SPDX-License-Identifier: Apache-2.0
"""A recipe's models merged by another method: what is the base, who stands beside whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Method, Role
from dogerm_plugin.methods.parameter import ALLOW_UNRELATED, REWARD, Scope
from dogerm_plugin.recipe import roles


def by_method(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The recipe with `merge_method: name`.

    Parameters that mean the same in both methods stay; those that the other one asks for and
    nothing gives get an example's value.

    Args:
        content: a recipe with `models:`, as YAML gives it, checked, and with its reward model
            marked where `base_model` does not say which it is.
        name: of one of this project's methods.

    Raises:
        MergeError: no such method; one that needs the pretrained base, which the recipe lacks.
    """
    source, target = registry.of(str(content["merge_method"])), registry.of(name)
    reward, domain = roles.reward_in(content), roles.domain_entries(content)
    base = content["base_model"] if source.base is Role.PRETRAINED else None
    if target.base is Role.PRETRAINED and target.base_required and base is None:
        raise MergeError(
            f"{name} needs the pretrained base, and {source.name} has none: write the recipe for "
            "reward_preserving_task_arithmetic, which names it"
        )
    made = {key: value for key, value in content.items() if key not in ("base_model", "models")}
    made["merge_method"] = name
    above = content.get("parameters") or {}
    made["parameters"] = _known(above, source, target, Scope.MERGE)
    for one in target.parameters:
        if one.required and one.scope is Scope.MERGE:
            made["parameters"].setdefault(one.name, one.example)
    if not made["parameters"]:
        del made["parameters"]
    written = [one for one in content["models"] if roles.is_marked(one)]
    own = _entry(written[0] if written else {"model": reward}, above, source, target)
    others = [_entry(one, above, source, target) for one in domain]
    if target.base is Role.REWARD_MODEL or (target.base is None and target.base_required):
        return made | {"base_model": reward, "models": others}
    own["parameters"] = {**own.get("parameters", {}), REWARD.name: True}
    named = {} if target.base is None or base is None else {"base_model": base}
    return made | named | {"models": [own, *others]}


def _entry(
    entry: Mapping[str, Any], above: Mapping[str, Any], source: Method, target: Method
) -> dict[str, Any]:
    """A model's entry with what the method knows and needs, be it written there or above."""
    given = {**above, **(entry.get("parameters") or {})}
    parameters = _known(given, source, target, Scope.DOMAIN_MODEL)
    for one in target.parameters:
        if one.required and one.scope is Scope.DOMAIN_MODEL:
            parameters.setdefault(one.name, one.example)
    return {"model": entry["model"], **({"parameters": parameters} if parameters else {})}


def _known(
    given: Mapping[str, Any], source: Method, target: Method, scope: Scope
) -> dict[str, Any]:
    """What means the same in both: `epsilon` of DELLA and of RAM are two things."""
    names = {
        one.name
        for one in target.parameters
        if one.scope is scope
        and (same := source.by_name.get(one.name)) is not None
        and (same.scope, same.meaning) == (one.scope, one.meaning)
    }
    if scope is Scope.DOMAIN_MODEL:
        names.add(ALLOW_UNRELATED.name)
    return {name: value for name, value in given.items() if name in names}
