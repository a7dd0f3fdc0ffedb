# SPDX-License-Identifier: Apache-2.0
"""A recipe in the place of a model: its merge, made in memory, as mergekit-yaml would write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogerm_plugin.errors import MergeError
from harness.errors import HarnessError

if TYPE_CHECKING:
    from dogerm_plugin.recipe.router import ExpertRecipe


def models(pretrained: str) -> list[str]:
    """The models of a recipe's file, as they are found from here.

    Raises:
        HarnessError: it can't be followed.
    """
    with _told():
        return models_of(_read(pretrained))


def models_of(recipe: ExpertRecipe) -> list[str]:
    """The models of a recipe, as they are found from here."""
    from dogerm_plugin.recipe import paths

    found: list[str] = []

    def see(path: str, _: str) -> str:
        found.append(path)
        return path

    paths.with_models(recipe.content, see)
    return found


def method(pretrained: str) -> str:
    """The merge method of a recipe; empty where it names none of this project's.

    Raises:
        HarnessError: it can't be followed.
    """
    from dogerm_plugin.methods import registry

    with _told():
        name = _read(pretrained).content.get("merge_method")
    return str(name) if name in registry.names() else ""


def load(pretrained: str, arguments: Mapping[str, Any]) -> Any:
    """The merge, as ``--model reward`` loads what mergekit-yaml writes.

    Args:
        pretrained: the recipe's file.
        arguments: of `Reward`.

    Raises:
        HarnessError: the recipe can't be followed, or its models can't be merged or loaded.
    """
    from mergekit.options import MergeOptions

    from dogerm_plugin import _autoload
    from dogerm_plugin.run.in_memory import Merges
    from harness.models import written_merge
    from harness.models.live import LiveMerge, LiveReward
    from harness.models.reward import Reward

    if arguments.get("revision"):
        raise HarnessError("--model_args revision=: write it in the recipe, as MODEL@REVISION")
    _autoload.install(force=True)
    trusted = str(arguments.get("trust_remote_code", False)).lower() == "true"
    options = MergeOptions(quiet=True, trust_remote_code=trusted)
    with _told():
        recipe = _read(pretrained)
        config = recipe.configuration()
        given = written_merge.with_dtype(arguments, recipe.content)
        merges = Merges(config, options)
        if not merges.keeps_all_but_the_body:
            return written_merge.load(config, options, lambda folder: Reward(folder, **given))
        base = merges.layout.reward.model.model
        if base.revision:
            given["revision"] = base.revision
        model = LiveReward(base.path, quiet=False, remember=False, **given)
        merge = LiveMerge(merges, model.model)
        merge.check_unmerged()
        merge.set(config)
    return model


def _read(pretrained: str) -> ExpertRecipe:
    from dogerm_plugin.recipe.router import recipe_of

    return recipe_of("MODEL", str(Path(pretrained).expanduser()), Path())


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except MergeError as error:
        raise HarnessError(str(error)) from error
