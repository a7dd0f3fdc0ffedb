# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint an expert is, so that a calibration is never taken for another's."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dogerm_plugin.files import digests
from dogerm_plugin.recipe.router import FILE, ExpertRecipe
from harness.errors import HarnessError
from harness.models.routing.router_file import RouterFile, read

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def of_folder(place: str | None) -> str:
    """The digest of a checkpoint's files, wherever its folder lies.

    "" of no place, and of a Hub id, which is not looked into.
    """
    return digests.of_model(Path(place)) if place is not None and Path(place).is_dir() else ""


def of_expert(name: str, recipes: Mapping[str, ExpertRecipe], place: str) -> str:
    """The digest of what an expert is made of; see `of_folder`.

    Of one that is made by merging: of its recipe and its models' files.
    """
    return recipes[name].digest if name in recipes else of_folder(place)


def check_scales(made: RouterFile, places: Mapping[str, str], base: str | None = None) -> None:
    """Refuse a calibration of other weights than an expert has now.

    Args:
        made: has the calibration.
        places: of the experts.
        base: of which the experts are adapters; None where each is a model.

    Raises:
        HarnessError: naming the expert.
    """
    based = of_folder(base) if any(one.base for one in made.calibration.values()) else ""
    for name, scale in made.calibration.items():
        if based and scale.base and based != scale.base:
            raise HarnessError(
                f"the expert {name}: its calibration (mean {scale.mean:.4g}, std {scale.std:.4g}) "
                f"is of its adapter on another base than {base} is now; calibrate again with "
                "dogerm train router, or leave the calibration out"
            )
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


def still_calibrated(
    made: RouterFile, changed: Mapping[str, Any], recipes: Mapping[str, ExpertRecipe]
) -> bool:
    """Whether a file's calibration is of the experts that are named in place of the file's.

    Of those in another place it is where `check_scales` can hold their files against it.

    Args:
        made: what the file says.
        changed: what is said instead.
        recipes: the experts that are made by merging.
    """
    base = changed.get("base", made.base)
    for name, place in changed.get("experts", made.experts).items():
        scale = made.calibration.get(name)
        if scale is None:
            return False
        told = bool(scale.files) and (name in recipes or _is_folder(place))
        if not told and not _same_place(place, made.experts.get(name)):
            return False
        told = bool(scale.base) and _is_folder(base)
        if not told and not _same_place(base, made.base):
            return False
    return True


def _is_folder(place: str | None) -> bool:
    return place is not None and Path(place).expanduser().is_dir()


def _same_place(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return one == other
    here, there = (os.path.realpath(Path(place).expanduser()) for place in (one, other))
    return here == there


def with_routers_scales(
    made: RouterFile, places: Mapping[str, str], base: str | None = None
) -> RouterFile:
    """The calibration that a ``router:`` folder has, for a file that names it and has none itself.

    It is taken where it is of all these experts, by the digests of their files; else a warning says
    why rewards stay uncalibrated. Arguments as of `check_scales`.
    """
    file = Path(str(made.router)).expanduser() / FILE
    if made.calibration or not file.is_file():
        return made
    trained = read(file)
    scales = trained.calibration
    if not scales:
        return made
    based = of_folder(base)
    for name in made.experts:
        now = of_expert(name, made.recipes, places[name])
        told = bool(now) or _same_place(places[name], trained.experts.get(name))
        same = told and name in scales and now == scales[name].files
        if not same or scales[name].base not in ("", based):
            logger.warning(
                "%s calibrates other files than the expert %s has, so rewards are not calibrated; "
                "dogerm train router with these experts does that",
                file,
                name,
            )
            return made
    return made.model_copy(update={"calibration": {name: scales[name] for name in made.experts}})
