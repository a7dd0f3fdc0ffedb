# SPDX-License-Identifier: Apache-2.0
"""The reward models that a router is to choose among: found, held against the rows, written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe import router as router_recipes
from dogerm_plugin.recipe.router import ExpertRecipe
from harness.errors import HarnessError, at
from harness.models.load.arguments import folder_or_hub_id
from harness.models.routing.scale import Scale, as_plain
from harness.rows.columns import with_guess
from harness.training.config import Config


def check_experts(config: Config, domains: Sequence[str]) -> None:
    """Refuse experts that no prompt is for, before anything is embedded.

    Raises:
        HarnessError: names the expert, or the domain that lacks one.
    """
    experts, fallback = config.router.experts, config.router.fallback
    if fallback is not None and fallback not in experts:
        raise HarnessError(
            f"`fallback` names the expert {with_guess(fallback, tuple(experts))}; there are "
            f"{', '.join(experts) or 'none'}"
        )
    beside = config.router.beside
    for name in beside:
        if name not in experts or name in domains or name == fallback:
            raise HarnessError(
                f"`beside` names {name}, which is "
                + ("an expert that prompts are for" if name in experts else "none of `experts`")
            )
    for name in experts:
        if name not in domains and name != fallback and name not in beside:
            raise HarnessError(
                f"`experts` has {with_guess(name, tuple(domains))}, and no row is of that domain: "
                f"the rows are of {', '.join(domains)}"
            )
    lacking = [name for name in domains if name not in experts]
    if experts and lacking and fallback is None:
        raise HarnessError(
            f"`experts` has none for the domain {lacking[0]}: name one, or a `fallback`"
        )


def find_experts(config: Config, folder: Path) -> tuple[dict[str, str], dict[str, ExpertRecipe]]:
    """Each expert's place, and the recipes of those that are made by merging.

    Folders that are written relative to the data folder are found there; Hub ids are as they are.

    Raises:
        HarnessError: a folder or recipe that is not there, or one that can't be followed.
    """
    try:
        recipes = router_recipes.recipes(config.router.experts, "`experts`", folder)
    except MergeError as error:
        raise HarnessError(str(error)) from error
    places = {}
    for name, place in config.router.experts.items():
        with at("`experts`"):
            found = _found(str(place), folder)
            is_made = name in recipes
            places[name] = str(recipes[name].file) if is_made else folder_or_hub_id(found, name)
    return places, recipes


def _found(place: str, folder: Path) -> str:
    return str(folder / place) if (folder / place).is_dir() else place


def save_experts(
    config: Config,
    output: Path,
    data_folder: Path,
    scales: Mapping[str, Scale],
    base: str | None,
) -> None:
    """Write router.yml, for the models that score by this router.

    Args:
        config: the router's.
        output: its folder.
        data_folder: relative names of experts start here.
        scales: each expert's mean and deviation.
        base: of which the experts are adapters; None where each is a model.
    """
    import yaml

    places, recipes = find_experts(config, data_folder)
    content: dict[str, Any] = {
        **({"base": from_folder(output, base)} if base is not None else {}),
        "experts": {
            name: recipes[name].seen_from(output) if name in recipes else from_folder(output, place)
            for name, place in places.items()
        },
        "router": ".",
        **({"fallback": config.router.fallback} if config.router.fallback else {}),
        **({"beside": config.router.beside} if config.router.beside else {}),
        "calibration": as_plain(scales),
    }
    (output / "router.yml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def from_folder(output: Path, place: str) -> str:
    """A folder as it is reached from the router's; a Hub id as it is."""
    if not Path(place).is_dir():
        return place
    return os.path.relpath(Path(place).resolve(), output.resolve())
