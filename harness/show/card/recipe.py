# SPDX-License-Identifier: Apache-2.0
"""The recipe that mergekit left in a merged model's folder: its models and their settings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import Method, Role
from dogerm_plugin.methods.parameter import Scope
from dogerm_plugin.recipe import reward_line
from harness.errors import HarnessError

NAME = "mergekit_config.yml"


@dataclass(frozen=True)
class Ingredient:
    """A model that was merged, and what the recipe sets for it.

    Attributes:
        name: as the recipe has it, ``model@revision+adapter``.
        parts: the model and, where there is one, the adapter; each a path or Hub id and a revision.
        role: what it is for: reward model, domain model, pretrained base.
        settings: of each of `MergedRecipe.of_models` as the recipe has it; for the reward model,
            the share that the others leave it, where there is such a thing.
    """

    name: str
    parts: tuple[tuple[str, str | None], ...]
    role: str
    settings: dict[str, str]


@dataclass(frozen=True)
class MergedRecipe:
    """What ``mergekit_config.yml`` says.

    Attributes:
        text: all of it.
        architecture: of the merged model, as config.json has it.
    """

    path: Path
    text: str
    content: dict[str, Any]
    ingredients: tuple[Ingredient, ...]
    architecture: str

    @property
    def method(self) -> str:
        return str(self.content.get("merge_method"))

    @property
    def declared(self) -> Method | None:
        """What the method says of itself; None of one that is not this project's."""
        return _declared(self.content)

    @property
    def of_models(self) -> list[str]:
        """The parameters of which each model has a value."""
        return _of_models(self.content)

    @property
    def of_merge(self) -> dict[str, str]:
        """What the recipe sets for the merge as a whole, by what people call it."""
        given = self.content.get("parameters") or {}
        every = self.declared.parameters if self.declared else ()
        of_merge = (one for one in every if one.scope is Scope.MERGE)
        return {one.called: _shown(given[one.name]) for one in of_merge if one.name in given}


def read(folder: Path) -> MergedRecipe:
    """The recipe of a merged model's folder.

    Raises:
        HarnessError: there is no model, no recipe, or one that can't be read.
    """
    from harness.runs.results import read_json

    path = folder / NAME
    for needed in (path, folder / "config.json"):
        if not needed.is_file():
            raise HarnessError(
                f"{folder} has no {needed.name}, expected the folder that mergekit-yaml wrote: "
                "name that one, or merge again (without --no-write-model-card)"
            )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path} is not UTF-8: {error}; merge again") from error
    content = parsed(text, str(path))
    reward = reward_line.told(text)
    architectures = read_json(folder / "config.json").get("architectures") or [""]
    try:
        ingredients = tuple(_ingredients(content, reward))
    except (AttributeError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{path}: its models can't be read ({error!r}), expected models, slices or modules as "
            "mergekit-yaml takes them; merge again"
        ) from error
    return MergedRecipe(path, text, content, ingredients, str(architectures[0]))


def parsed(text: str, where: str) -> dict[str, Any]:
    """The content of a recipe's YAML.

    Raises:
        HarnessError: not YAML, or not a recipe.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise HarnessError(f"{where} is not one YAML document: {error}") from error
    if not isinstance(content, dict) or "merge_method" not in content:
        raise HarnessError(f"{where} is not a recipe: expected merge_method, base_model and models")
    return content


def _ingredients(content: dict[str, Any], reward: str | None) -> Iterator[Ingredient]:
    """The model that `base_model` names first, then the others in the recipe's order.

    Args:
        content: the recipe.
        reward: the reward model, where it was told by its head.
    """
    shared = content.get("parameters") or {}
    names = _of_models(content)
    settings: dict[str, dict[str, list[Any]]] = {}
    references = {}
    base = content.get("base_model")
    entries = [*([{"model": base}] if base else []), *_entries(content)]
    for entry in entries:
        name = _name(entry["model"])
        references[name] = entry["model"]
        of_model = settings.setdefault(name, {one: [] for one in names})
        for one in names:
            own = (entry.get("parameters") or {}).get(one, shared.get(one))
            if own is not None and own not in of_model[one]:
                of_model[one].append(own)
    others = [of_model for name, of_model in settings.items() if not base or name != _name(base)]
    for name, reference in references.items():
        role = _role(content, name, reward)
        has_rest = bool(base) and name == _name(base)
        shown = {
            one: _share(content, one, [of_model[one] for of_model in others])
            if has_rest
            else "; ".join(map(_shown, settings[name][one]))
            for one in names
        }
        yield Ingredient(name, _parts(reference), role, shown)


def _role(content: dict[str, Any], name: str, reward: str | None) -> str:
    """What a model is for, in words."""
    method, base = _declared(content), content.get("base_model")
    is_base = bool(base) and name == _name(base)
    if method is None:
        return "base model" if is_base else "merged in"
    if is_base and method.base is Role.PRETRAINED:
        return "pretrained base"
    is_reward = name == reward or (is_base and method.base is Role.REWARD_MODEL)
    return "reward model" if is_reward else "domain model"


def _entries(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from content.get("models") or ()
    for piece in content.get("slices") or ():
        yield from piece["sources"]
    for module in (content.get("modules") or {}).values():
        yield from _entries(module)


def _declared(content: dict[str, Any]) -> Method | None:
    name = str(content.get("merge_method"))
    return registry.of(name) if name in registry.names() else None


def _of_models(content: dict[str, Any]) -> list[str]:
    """The parameters of which each model has a value; most often a weight in others' methods."""
    method = _declared(content)
    if method is None:
        return ["weight"]
    return [one.name for one in method.parameters if one.scope is Scope.DOMAIN_MODEL]


def _share(content: dict[str, Any], name: str, others: list[list[Any]]) -> str:
    """1 − Σλ where the reward model has what the others leave of it, and each λ is one number."""
    method = _declared(content)
    if method is None or method.base is not Role.REWARD_MODEL:
        return ""
    if not method.by_name[name].on_reward_model:
        return ""
    try:
        return f"{1 - math.fsum(float(value) for [value] in others):.6g}"
    except (TypeError, ValueError):
        return f"1 − Σ{method.by_name[name].called}"


def _shown(setting: Any) -> str:
    """A setting in words: a number, a gradient over the layers, or one a part of the names."""
    if isinstance(setting, list) and any(isinstance(part, dict) for part in setting):
        return ", ".join(
            f"{part.get('filter', 'the rest')}: {_shown(part.get('value'))}" for part in setting
        )
    if isinstance(setting, list):
        return f"[{', '.join(map(str, setting))}] from the first layer to the last"
    return str(setting)


def _parts(model: Any) -> tuple[tuple[str, str | None], ...]:
    """mergekit's ``model@revision+adapter``, or the mapping that it takes for it."""
    if isinstance(model, dict):
        given = [model["model"], *([model["lora"]] if model.get("lora") else [])]
    else:
        given = str(model).split("+")
    return tuple(
        (part["path"], part.get("revision"))
        if isinstance(part, dict)
        else (str(part).partition("@")[0], str(part).partition("@")[2] or None)
        for part in given
    )


def _name(model: Any) -> str:
    return "+".join("@".join(filter(None, part)) for part in _parts(model))
