# SPDX-License-Identifier: Apache-2.0
"""The recipe that mergekit left in a merged model's folder: its models and their λ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError

NAME = "mergekit_config.yml"
_LINEAR = "reward_preserving_linear"


@dataclass(frozen=True)
class Ingredient:
    """A model of the recipe.

    Attributes:
        name: as the recipe has it, ``model@revision+adapter``.
        parts: the model and, where there is one, the adapter; each a path or Hub id and a revision.
        weight: its λ as the recipe has it; for the reward model, its share.
    """

    name: str
    parts: tuple[tuple[str, str | None], ...]
    is_base: bool
    weight: str


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
    def keeps_head(self) -> bool:
        """Whether it is the method whose formula the card states."""
        return self.method == _LINEAR


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
    architectures = read_json(folder / "config.json").get("architectures") or [""]
    try:
        ingredients = tuple(_ingredients(content))
    except (AttributeError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{path}: its models can't be read ({error!r}), expected models, slices or modules as "
            "mergekit-yaml takes them; merge again"
        ) from error
    return MergedRecipe(path, text, content, ingredients, str(architectures[0]))


def parsed(text: str, where: str) -> dict[str, Any]:
    """A recipe's YAML.

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


def _ingredients(content: dict[str, Any]) -> Iterator[Ingredient]:
    """The reward model first, then the others in the recipe's order."""
    shared = (content.get("parameters") or {}).get("weight")
    weights: dict[str, list[Any]] = {}
    references = {}
    base = content.get("base_model")
    entries = [*([{"model": base}] if base else []), *_entries(content)]
    for entry in entries:
        name = _name(entry["model"])
        references[name] = entry["model"]
        own = (entry.get("parameters") or {}).get("weight", shared)
        if own is not None and own not in weights.setdefault(name, []):
            weights[name].append(own)
    others = [weights.get(name, []) for name in references if not base or name != _name(base)]
    for name, reference in references.items():
        is_base = bool(base) and name == _name(base)
        weight = _share(content, others) if is_base else "; ".join(map(_shown, weights[name]))
        yield Ingredient(name, _parts(reference), is_base, weight)


def _entries(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from content.get("models") or ()
    for piece in content.get("slices") or ():
        yield from piece["sources"]
    for module in (content.get("modules") or {}).values():
        yield from _entries(module)


def _share(content: dict[str, Any], others: list[list[Any]]) -> str:
    """1 − Σλ, which is the reward model's share where each λ is one number."""
    if content.get("merge_method") != _LINEAR:
        return ""
    try:
        return f"{1 - math.fsum(float(weight) for [weight] in others):.6g}"
    except (TypeError, ValueError):
        return "1 − Σλ"


def _shown(weight: Any) -> str:
    """λ as the recipe has it: a number, a gradient over the layers, or one a part of the names."""
    if isinstance(weight, list) and any(isinstance(part, dict) for part in weight):
        return ", ".join(
            f"{part.get('filter', 'the rest')}: {_shown(part.get('value'))}" for part in weight
        )
    if isinstance(weight, list):
        return f"[{', '.join(map(str, weight))}] from the first layer to the last"
    return str(weight)


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
