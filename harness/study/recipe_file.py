# SPDX-License-Identifier: Apache-2.0
"""Reads the recipe of a study, with all checks that can be made before its models are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.errors import HarnessError
from harness.study.recipe import StudyRecipe, each, named

if TYPE_CHECKING:
    from dogerm_plugin.methods.declaration import Method


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
    models = content.get("models")
    entries = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    base = named(content.get("base_model"))
    domain = [entry for entry in entries if named(entry.get("model")) != base]
    if content["merge_method"] in registry.names():
        method = registry.of(content["merge_method"])
        if method.heads is Heads.STACKED:
            raise HarnessError(
                f"{path}: {method.name} gives several rewards, and a choice is made by one: merge "
                "with mergekit-yaml, score with --model reward and combine=, and compare two "
                "merges with dogerm compare"
            )
        rest = method.at_rest(len(domain))
        _refuse_shapes(path, content, domain, [*(() if any_shape else rest), *replaced])
        _fill(content, domain, method, rest)
    keys.check_text(yaml.safe_dump(content, sort_keys=False), str(path), several=False)
    return StudyRecipe(str(path), text, content, tuple(named(entry["model"]) for entry in domain))


def _fill(
    content: dict[str, Any],
    domain: Sequence[dict[str, Any]],
    method: Method,
    rest: Mapping[str, Any],
) -> None:
    """Write the values at rest where there are none: what is to be chosen need not be written."""
    for name, value in rest.items():
        if not each(method.by_name[name]):
            _default(content, name, value)
        else:
            for entry, own in zip(domain, value, strict=True):
                _default(entry, name, own)


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
