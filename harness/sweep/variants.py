# SPDX-License-Identifier: Apache-2.0
"""A recipe with other weights: what a sweep merges, and what it hands on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError


@dataclass(frozen=True)
class Recipe:
    """A recipe file of one of this project's merge methods.

    Attributes:
        path: as the user names it.
        text: all of the file.
        content: the YAML.
        domain_models: as written, in the file's order.
    """

    path: str
    text: str
    content: dict[str, Any]
    domain_models: tuple[str, ...]

    @property
    def reward_model(self) -> str:
        return _name(self.content["base_model"])

    def with_weights(self, weights: Sequence[Any]) -> dict[str, Any]:
        """The YAML with a `weight` for each domain model: a number, or what mergekit takes for it.

        The reward model's own weight and a `weight` above the models go: they would contradict it.
        """
        content = copy.deepcopy(self.content)
        rest = list(weights)
        for entry in content["models"]:
            parameters = dict(entry.get("parameters") or {})
            parameters.pop("weight", None)
            if _name(entry["model"]) != self.reward_model:
                parameters["weight"] = rest.pop(0)
            entry["parameters"] = parameters
            if not parameters:
                del entry["parameters"]
        if "parameters" in content:
            content["parameters"] = {
                name: value
                for name, value in (content["parameters"] or {}).items()
                if name != "weight"
            }
            if not content["parameters"]:
                del content["parameters"]
        return content

    def configuration(self, weights: Sequence[Any]) -> Any:
        """The same, as mergekit's `MergeConfiguration`."""
        from mergekit.config import MergeConfiguration

        return MergeConfiguration.model_validate(self.with_weights(weights))

    def written(self, weights: Sequence[Any], header: Sequence[str]) -> str:
        """The text of a recipe file with these weights, below comment lines.

        The comments of the recipe itself are lost.
        """
        comments = "".join(f"# {_comment(line)}\n" for line in header)
        content = self.with_weights(weights)
        return comments + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)


def read(path: Path, *, any_weight: bool = False) -> Recipe:
    """Read a recipe, with all checks that mergekit-yaml would make of it here.

    Args:
        path: the file.
        any_weight: take a `weight` that is no plain number; it is replaced.

    Raises:
        HarnessError: not a recipe of this project's methods; slices or modules; a `weight` that is
            no plain number, whose shape a sweep would lose.
        MergeError: a key or value that mergekit-yaml would refuse, too.
    """
    from dogerm_plugin.recipe import keys, paths
    from dogerm_plugin.recipe.configuration import is_ours

    text, content = _parsed(path)
    if not is_ours(content["merge_method"]):
        raise HarnessError(
            f"{path}: merge_method is {content['merge_method']}, expected reward_preserving_linear"
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
    base = _name(content.get("base_model"))
    domain = [entry for entry in entries if _name(entry.get("model")) != base]
    named = {_name(entry.get("model")): entry for entry in domain}
    for place, holder in {**named, "all models": content}.items():
        parameters = holder.get("parameters")
        weight = parameters.get("weight") if isinstance(parameters, dict) else None
        if isinstance(weight, list | dict) and not any_weight:
            raise HarnessError(
                f"{path}: the weight of {place} is a {type(weight).__name__}, which a sweep would "
                "replace by a number: give a number, or search it with dogerm search"
            )
    for entry in domain:
        if not entry.get("parameters"):  # what is to be chosen need not be written
            entry["parameters"] = {"weight": 0}
    keys.check_text(yaml.safe_dump(content, sort_keys=False), str(path), several=False)
    return Recipe(str(path), text, content, tuple(_name(entry["model"]) for entry in domain))


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


def _comment(text: str) -> str:
    """A text as one line that a YAML reader skips: it refuses what can't be printed anywhere."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _name(model: Any) -> str:
    """A model as text: a name, or mergekit's `{model: {path: ...}}`."""
    from mergekit.common import ModelReference

    try:
        return str(ModelReference.model_validate(model)) if isinstance(model, dict) else str(model)
    except ValueError:
        return str(model)  # not a model; told by the check of the whole recipe
