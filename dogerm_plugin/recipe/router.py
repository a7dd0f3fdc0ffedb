# SPDX-License-Identifier: Apache-2.0
"""The experts of a `router.yml` that are merges: recipes in files of their own, or in place.

experts:
  general: general-rm/          # a checkpoint
  math: math-merge.yml          # a recipe file, beside this one
  code:                         # a recipe
    merge_method: reward_preserving_linear
    ...
router: router/
beside: [all]                   # experts that the router has no label for
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from mergekit.config import MergeConfiguration

from dogerm_plugin.errors import MergeError, suggest
from dogerm_plugin.files import digests
from dogerm_plugin.methods import registry
from dogerm_plugin.recipe import keys, paths
from dogerm_plugin.recipe.configuration import is_ours

FILE = "router.yml"
SUFFIXES = (".yml", ".yaml")
# All that a router file may say, for `--model reward-router` and `reward-adapters`.
KEYS = (
    "experts",
    "base",
    "router",
    "fallback",
    "threshold",
    "domain",
    "domains",
    "beside",
    "calibration",
    "template",
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class ExpertRecipe:
    """A recipe that makes an expert.

    Attributes:
        where: the expert, and the file that it is of, for messages.
        file: the recipe's; the router's where it is written in place.
        text: as it is written; of one in place, as YAML writes it.
        in_place: whether it stands among the experts itself.
    """

    where: str
    file: Path
    text: str
    in_place: bool

    @cached_property
    def content(self) -> dict[str, Any]:
        """The YAML, with the models' folders as they are found."""
        found: dict[str, Any] = paths.in_content(yaml.safe_load(self.text), self.file.parent)
        return found

    def configuration(self) -> MergeConfiguration:
        """The recipe as mergekit parses it."""
        return MergeConfiguration.model_validate(self.content)

    def seen_from(self, folder: Path) -> str | dict[str, Any]:
        """What a router file in another folder is to have in its place."""
        if self.in_place:
            content: dict[str, Any] = paths.seen_from(self.content, folder)
            return content
        parent = paths.from_folder(str(self.file.parent), folder)
        return (Path(parent) / self.file.name).as_posix()

    @cached_property
    def digest(self) -> str:
        """A digest of what it says and of its models' files, wherever these lie.

        A model of the Hub counts by its name, a merge method of the user's own by its source.
        """

        def files(path: str, revision: str) -> str:
            here = not revision and Path(path).is_dir()
            return digests.of_model(Path(path)) if here else path

        content = paths.with_models(self.content, files)
        method = self.content.get("merge_method")
        own = registry.files(method) if method in registry.names() else []
        if own:
            content["source of merge_method"] = list(map(digests.of_file, own))
        return digests.of_text(json.dumps(content, sort_keys=True, default=str))


def is_router(content: Any) -> bool:
    """Whether a file's YAML is a router's, not a recipe's or a mixture's."""
    return (
        isinstance(content, dict)
        and "merge_method" not in content
        and isinstance(content.get("experts"), Mapping)
    )


def is_recipe(expert: Any) -> bool:
    """Whether what stands beside an expert's name is a recipe, or the name of a recipe file."""
    return isinstance(expert, Mapping) or str(expert).endswith(SUFFIXES)


def check_names(content: Mapping[str, Any], where: str) -> None:
    """Refuse a router file whose merges could not be used with it, before they are made.

    Raises:
        MergeError: an unknown key, or an expert that is named and is none.
    """
    if unknown := next((str(key) for key in content if key not in KEYS), None):
        raise MergeError(f"{where}: unknown key {unknown}{suggest(unknown, KEYS)}")
    experts = [str(name) for name in content["experts"]]
    beside = content.get("beside") or []
    mapped = content.get("domains") or {}
    named = [
        *(("beside", name) for name in (beside if isinstance(beside, list) else [beside])),
        *(("domains", name) for name in (mapped.values() if isinstance(mapped, Mapping) else ())),
        *([("fallback", content["fallback"])] if content.get("fallback") is not None else []),
    ]
    for key, name in named:
        if str(name) not in experts:
            raise MergeError(f"{where}: {key} names the expert {name}{suggest(name, experts)}")


def recipes(experts: Mapping[str, Any], where: str, folder: Path) -> dict[str, ExpertRecipe]:
    """The recipes among a router's experts, each checked as far as that goes without its models.

    Args:
        experts: as YAML gives them.
        where: the router file, or the argument that names the experts, for messages.
        folder: beside what the recipe files lie; where none is there, in the current folder.

    Raises:
        MergeError: a name that is no folder's; a recipe that is not there or can't be followed.
    """
    found = {}
    for name, value in experts.items():
        if not is_recipe(value):
            continue
        if not _NAME.fullmatch(str(name)) or name == FILE:
            raise MergeError(
                f"{where}: the expert {name!r} is made by merging and its name is a folder's: use "
                "letters, digits, '_', '-' and '.'"
            )
        found[name] = recipe_of(f"{where}: the expert {name}", value, folder)
    return found


def recipe_of(where: str, value: Any, folder: Path) -> ExpertRecipe:
    """A recipe, checked as far as that goes without its models.

    Args:
        where: whose it is, for messages.
        value: its YAML, or its file.
        folder: beside what the file lies; where it is not there, in the current folder.

    Raises:
        MergeError: it is not there, or can't be followed.
    """
    if isinstance(value, Mapping):
        text = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True)
        made = ExpertRecipe(where, folder / FILE, text, in_place=True)
    else:
        written = Path(str(value)).expanduser()
        file = next((one for one in (folder / written, written) if one.is_file()), None)
        where = f"{where}: {value}"
        if file is None:
            raise MergeError(
                f"{where}: there is no such recipe file, neither in {folder} nor in the current "
                "folder"
            )
        try:
            made = ExpertRecipe(where, file, file.read_text("utf-8"), in_place=False)
        except (OSError, UnicodeDecodeError) as error:
            raise MergeError(f"{where}: can't be read as a YAML recipe ({error})") from None
    keys.check_text(made.text, where, several=False)
    method = yaml.safe_load(made.text)["merge_method"]
    if not is_ours(method):
        raise MergeError(
            f"{where}: merge_method {method} is mergekit's own and loses the reward head; an "
            "expert is made by reward_preserving_linear or another method of this project"
        )
    return made
