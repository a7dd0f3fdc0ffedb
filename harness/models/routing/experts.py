# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint an expert is, so that a calibration is never taken for another's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dogerm_plugin.files import digests
from dogerm_plugin.recipe.router import FILE, ExpertRecipe
from harness.errors import HarnessError
from harness.models.routing.router_file import RouterFile, read

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


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
            swapped = [
                one for one in places if of_expert(one, made.recipes, places[one]) == scale.files
            ]
            hint = f" (they are those of {swapped[0]}: are the two swapped?)" if swapped else ""
            raise HarnessError(
                f"the expert {name}: its calibration (mean {scale.mean:.4g}, std {scale.std:.4g}) "
                f"is of other files than {has} has now{hint}; calibrate again with dogerm train "
                "router, or leave the calibration out"
            )


def with_routers_scales(made: RouterFile, places: Mapping[str, str]) -> RouterFile:
    """The calibration that a ``router:`` folder has, for a file that names it and has none itself.

    It is taken where it is of all these experts, by the digests of their files; else a warning says
    why rewards stay uncalibrated.
    """
    file = Path(str(made.router)).expanduser() / FILE
    if made.calibration or not file.is_file():
        return made
    scales = read(file).calibration
    if not scales:
        return made
    for name in made.experts:
        now = of_expert(name, made.recipes, places[name])
        if name not in scales or now != scales[name].files:
            logger.warning(
                "%s calibrates other files than the expert %s has, so rewards are not calibrated; "
                "dogerm train router with these experts does that",
                file,
                name,
            )
            return made
    return made.model_copy(update={"calibration": {name: scales[name] for name in made.experts}})
