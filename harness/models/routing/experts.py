# SPDX-License-Identifier: Apache-2.0
"""Which checkpoint an expert is, so that a calibration is never taken for another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dogerm_plugin.files import digests
from harness.errors import HarnessError
from harness.models.routing.router_file import RouterFile


def of_folder(place: str) -> str:
    """The digest of a checkpoint's files, wherever its folder lies."""
    return digests.of_model(Path(place))


def check_scales(made: RouterFile, places: Mapping[str, str]) -> None:
    """Refuse a calibration of other weights than an expert has now.

    Raises:
        HarnessError: naming the expert.
    """
    for name, scale in made.calibration.items():
        if scale.files and Path(places[name]).is_dir() and scale.files != of_folder(places[name]):
            raise HarnessError(
                f"the expert {name}: its calibration (mean {scale.mean:.4g}, std {scale.std:.4g}) "
                f"is of other files than {places[name]} has now; calibrate again with dogerm train "
                "router, or leave the calibration out"
            )
