# SPDX-License-Identifier: Apache-2.0
"""What ``--model_args`` say of a routed set of experts, and of its ``router.yml``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.routing.experts import still_calibrated
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

_SEPARATOR = ";"


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
    folder_file = None
    if isinstance(router, str) and router.endswith((".yml", ".yaml")):
        made, router = read(Path(router).expanduser()), None
    elif isinstance(router, str) and router != ORACLE:
        folder_file = Path(router).expanduser() / "router.yml"
    if folder_file is not None and folder_file.is_file():
        made = read(folder_file)
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
    if router is not None:
        changed["router"] = router
    if always is not None:
        changed["router"] = {ALWAYS: str(always)}
    if experts is not None:
        changed["experts"] = named_places(experts, argument)
        found = recipes_among(changed["experts"], argument, Path())
    if given.get("calibration") is not None:
        changed["calibration"] = given["calibration"]
    elif made.calibration and not still_calibrated(made, changed, found):
        logger.warning(
            "the calibration in %s is not of all these experts: left out", given["router"]
        )
        changed["calibration"] = {}
    return having(validated({**made.model_dump(), **changed}, where).checked(where), found)


def named_places(experts: Any, argument: str = "pretrained") -> dict[str, str]:
    """Place by name of ``A;B``, ``a=A;b=B``, a list of places or a mapping.

    Raises:
        HarnessError: two have one name, or one has no place.
    """
    if isinstance(experts, Mapping):
        return {str(name): str(place) for name, place in experts.items()}
    listed = experts.split(_SEPARATOR) if isinstance(experts, str) else list(experts)
    pairs = []
    for one in listed:
        name, equals, place = str(one).strip().rpartition("=")
        pairs.append((name.strip() if equals else _last_part(place), place.strip()))
    named = dict(pairs)
    if len(named) < len(pairs) or not all(named.values()):
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), "")
        raise HarnessError(
            f"{argument}={experts}: "
            + (f"two experts are called {twice}" if twice else "an expert has no place")
            + f"; write --model_args '{argument}=math=FOLDER;code=FOLDER'"
        )
    return named


def _last_part(place: str) -> str:
    return Path(place.rstrip("/")).name
