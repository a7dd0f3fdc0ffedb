# SPDX-License-Identifier: Apache-2.0
"""What ``--model_args`` say of a routed set of experts, and of its ``router.yml``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dogerm_plugin.recipe.router import FILE
from harness.errors import HarnessError
from harness.models.routing.experts import still_calibrated
from harness.models.routing.named_places import named_places
from harness.models.routing.router_file import (
    ALWAYS,
    ORACLE,
    RouterFile,
    having,
    read,
    recipes_among,
    validated,
)

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


def of_arguments(
    given: Mapping[str, Any], experts: Any, where: str, argument: str = "pretrained"
) -> RouterFile:
    """What ``--model_args`` say of a routed set: a ``router.yml``, and what is said beside it.

    Args:
        given: ``router``, ``always``, ``fallback``, ``threshold``, ``domain``, ``domains``,
            ``calibration``, ``router_template`` and ``base`` as they are given; None for what is
            not.
        experts: ``A;B;C``, named after their folders, or ``math=A;code=B``; None where the file
            names them.
        where: for messages.
        argument: that names the experts, for messages.

    Raises:
        HarnessError: it makes no sense.
    """
    router, always = given.get("router"), given.get("always")
    made = RouterFile()
    file = None
    if isinstance(router, str) and router.endswith((".yml", ".yaml")):
        file, router = Path(router).expanduser(), None
    elif isinstance(router, str) and router != ORACLE:
        beside = Path(router).expanduser() / FILE
        file = beside if beside.is_file() else None
    if file is not None:
        made = read(file)
    found = made.recipes
    changed: dict[str, Any] = {
        key: given[name]
        for key, name in (
            ("fallback", "fallback"),
            ("threshold", "threshold"),
            ("domain", "domain"),
            ("domains", "domains"),
            ("template", "router_template"),
            ("base", "base"),
        )
        if given.get(name) is not None
    }
    if router is not None and always is not None:
        raise HarnessError(f"{where}: router= and always= are two ways to choose: give one")
    if router is not None and made.router != ORACLE:  # which a trained folder may say, too
        changed["router"] = router
    if always is not None:
        changed["router"] = {ALWAYS: str(always)}
    if experts is not None:
        changed["experts"] = named_places(experts, argument)
        found = recipes_among(changed["experts"], argument, Path())
    if given.get("calibration") is not None:
        changed["calibration"] = given["calibration"]
    elif (
        made.calibration
        and {"experts", "base"} & changed.keys()
        and not still_calibrated(made, changed, found)
    ):
        logger.warning(
            "the calibration in %s is not of all these experts: left out", given["router"]
        )
        changed["calibration"] = {}
    if file is not None:
        where = f"{where} and {file}" if changed else str(file)
    return having(validated({**made.model_dump(), **changed}, where).checked(where), found)
