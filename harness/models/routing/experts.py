# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint an expert is, so that a calibration is never taken for another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dogerm_plugin.files import digests
from dogerm_plugin.recipe.router import ExpertRecipe
from harness.errors import HarnessError
from harness.models.routing.router_file import RouterFile


def of_folder(place: str) -> str:
    """The digest of a checkpoint's files, wherever its folder lies."""
    return digests.of_model(Path(place))


def of_expert(name: str, recipes: Mapping[str, ExpertRecipe], place: str) -> str:
    """The digest of what an expert is made of; "" of a Hub id, which is not looked into.

    Of one that is made by merging: of its recipe and its models' files.
    """
    if name in recipes:
        return recipes[name].digest
    return of_folder(place) if Path(place).is_dir() else ""


def check_scales(made: RouterFile, places: Mapping[str, str]) -> None:
    """Refuse a calibration of other weights than an expert has now.

    Raises:
        HarnessError: naming the expert.
    """
    for name, scale in made.calibration.items():
        now = of_expert(name, made.recipes, places[name]) if scale.files else ""
        if now and now != scale.files:
            has = made.recipes[name].where if name in made.recipes else places[name]
            raise HarnessError(
                f"the expert {name}: its calibration (mean {scale.mean:.4g}, std {scale.std:.4g}) "
                f"is of other files than {has} has now; calibrate again with dogerm train "
                "router, or leave the calibration out"
            )
