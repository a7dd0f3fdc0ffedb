# SPDX-License-Identifier: Apache-2.0
"""Reads the recipe of a study, with all checks that can be made before its models are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.errors import HarnessError
from harness.study.recipe import StudyRecipe, each, strength_of

if TYPE_CHECKING:
    from dogerm_plugin.methods.declaration import Method
    from dogerm_plugin.methods.parameter import Parameter


def read(path: Path, *, any_shape: bool = False, replaced: Iterable[str] = ()) -> StudyRecipe:
    """Read a recipe, with all checks that mergekit-yaml would make of it here.

    Args:
        path: the file.
        any_shape: take what is no plain number for the parameter that is always varied, the one
            with a value at which the merge is the reward model; it is replaced.
        replaced: what other parameters are to be replaced by numbers.

    Raises:
        HarnessError: not a recipe of this project's methods; slices or modules; a parameter that is
            no plain number, whose shape a sweep would lose.
        MergeError: a key or value that mergekit-yaml would refuse, too.
    """
    from dogerm_plugin.anatomy.heads import Heads
    from dogerm_plugin.methods import registry
    from dogerm_plugin.recipe import keys, paths
    from dogerm_plugin.recipe.configuration import is_ours

    text, content = _parsed(path)
    if not is_ours(content["merge_method"]):
        raise HarnessError(
            f"{path}: merge_method is {content['merge_method']}, expected reward_preserving_linear "
            "or another method of this project"
        )
    for key in ("slices", "modules"):
        if content.get(key):
            raise HarnessError(
                f"{path}: has {key}; a sweep sets one weight for each entry of `models:`: write "
                "the recipe with models"
            )
    # From here on as they are found: what is handed on (best.yml) lies in another folder.
    content = paths.in_content(content, path.parent)
    if content["merge_method"] in registry.names():
        method = registry.of(content["merge_method"])
        searched = method.heads is Heads.AVERAGED and method.at_rest(1)
        if method.heads is not Heads.KEPT and not searched:
            raise HarnessError(
                f"{path}: the heads of {method.name} are {method.heads}, and what is tried here "
                "keeps the reward model's: merge with mergekit-yaml, and compare two merges with "
                "dogerm compare"
            )
        _mark_reward_model(content, method, path)
        domain = _domain(content)
        strength = strength_of(method)
        varied = [*([strength.name] if strength else []), *replaced]
        _refuse_shapes(path, content, domain, replaced if any_shape else varied)
        for name in varied:
            if name in method.by_name:
                _fill(content, domain, method.by_name[name])
    keys.check_text(yaml.safe_dump(content, sort_keys=False), str(path), several=False)
    names = [named(entry["model"]) for entry in _domain(content)]
    if not names or _goes_to_the_reward_model(content):
        raise HarnessError(
            f"{path}: base_model is the domain model, from which {content['merge_method']} goes "
            "the other way: name the reward model as base_model, so that more is more of the "
            "domain model"
        )
    return StudyRecipe(str(path), text, content, tuple(names))


def _goes_to_the_reward_model(content: Mapping[str, Any]) -> bool:
    """Whether the way between two models, of which `base_model` is the first, ends at it."""
    from dogerm_plugin.methods import registry
    from dogerm_plugin.recipe import roles

    method = registry.of(content["merge_method"])
    base = content.get("base_model")
    if method.base is not None or not method.base_required or base is None:
        return False
    return named(base) != roles.reward_in(content)


def _domain(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The domain models' entries, as far as the YAML is a recipe's at all."""
    from dogerm_plugin.recipe import roles

    models = content.get("models")
    listed = models if isinstance(models, list) else []
    well = [one for one in listed if isinstance(one, dict) and _is_model(one.get("model"))]
    base = content.get("base_model")
    return roles.domain_entries(
        {**content, "models": well, "base_model": base if _is_model(base) else None}
    )


def _is_model(value: Any) -> bool:
    from mergekit.common import ModelReference

    try:
        ModelReference.model_validate(value)
    except (ValueError, RuntimeError):
        return False
    return True


def _mark_reward_model(content: dict[str, Any], method: Method, path: Path) -> None:
    """Write which model is the reward model where that takes a look at the models.

    Raises:
        HarnessError: a model with an adapter, which is not to be merged for a look.
        MergeError: no model has a reward head, or several have.
    """
    from mergekit.config import MergeConfiguration
    from mergekit.options import MergeOptions
    from pydantic import ValidationError

    from dogerm_plugin.methods.declaration import Role
    from dogerm_plugin.methods.parameter import REWARD
    from dogerm_plugin.recipe import roles
    from dogerm_plugin.run.prepare import find_reward_model

    models = content.get("models")
    if method.base is Role.REWARD_MODEL or not isinstance(models, list):
        return
    if any(isinstance(one, dict) and roles.is_marked(one) for one in models):
        return
    try:
        config = MergeConfiguration.model_validate(content)
    except (ValidationError, RuntimeError):
        return  # told by the check of the whole recipe
    if any(model.lora for model in config.referenced_models()):
        raise HarnessError(
            f"{path}: a model with an adapter is not looked into: write `parameters: "
            f"{{{REWARD.name}: true}}` beside the reward model"
        )
    reward = named(str(find_reward_model(config, MergeOptions(quiet=True))))
    for entry in models:
        if named(entry["model"]) == reward:
            entry["parameters"] = {**(entry.get("parameters") or {}), REWARD.name: True}


def _fill(content: dict[str, Any], domain: Sequence[dict[str, Any]], one: Parameter) -> None:
    """Write a value where there is none: what is to be chosen need not be written."""
    value = one.example if one.at_rest is None else one.at_rest
    if not one.required:
        return
    for holder in domain if each(one) else [content]:
        _default(holder, one.name, value)


def _refuse_shapes(
    path: Path,
    content: Mapping[str, Any],
    domain: Iterable[Mapping[str, Any]],
    names: Iterable[str],
) -> None:
    """Refuse a parameter that is no plain number, whose shape a sweep would lose."""
    holders = {named(entry.get("model")): entry for entry in domain}
    for name in names:
        for place, holder in {**holders, "all models": content}.items():
            parameters = holder.get("parameters")
            value = parameters.get(name) if isinstance(parameters, dict) else None
            if isinstance(value, list | dict):
                raise HarnessError(
                    f"{path}: the {name} of {place} is a {type(value).__name__}, which a sweep "
                    "would replace by a number: give a number, or search it with dogerm search"
                )


def _default(holder: dict[str, Any], name: str, value: Any) -> None:
    parameters = holder.get("parameters") or {}
    if isinstance(parameters, dict):  # else a mistake, told by the check of the whole recipe
        holder["parameters"] = {**parameters, name: parameters.get(name, value)}


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: can't be read as a YAML recipe ({error})") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # 2001-99-99: a date
        raise HarnessError(f"{path}: not one YAML document: {error}") from error
    if not isinstance(content, dict) or "merge_method" not in content:
        raise HarnessError(
            f"{path}: not a recipe: expected keys such as merge_method, base_model and models"
        )
    return text, content


def named(model: Any) -> str:
    """A model as text: a name, or mergekit's `{model: {path: ...}}`."""
    from mergekit.common import ModelReference

    try:
        return str(ModelReference.model_validate(model)) if isinstance(model, dict) else str(model)
    except ValueError:
        return str(model)  # not a model; told by the check of the whole recipe
