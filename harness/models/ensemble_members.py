# SPDX-License-Identifier: Apache-2.0
"""The members that a user names for an ensemble."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from lm_eval.utils import sanitize_model_name

from harness.errors import HarnessError
from harness.models.load.arguments import folder_or_hub_id

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

SEPARATOR = ";"


def member_names(given: str | Sequence[str] | None, argument: str = "pretrained") -> list[str]:
    """The members' folders or Hub ids, by the argument that names them.

    Raises:
        HarnessError: fewer than two, one of them twice, or a folder that is none.
    """
    listed = given.split(SEPARATOR) if isinstance(given, str) else given or []
    names = [str(name).strip() for name in listed]
    if len(names) < 2 or not all(names):
        raise HarnessError(
            f"an ensemble has two or more members, {argument}={given} gives "
            f"{sum(map(bool, names))}; write --model_args '{argument}=A;B' in quotation marks (a "
            "shell ends the command at ;)"
        )
    names = [folder_or_hub_id(name, argument) for name in names]
    places = [os.path.realpath(name) if os.path.isdir(name) else name for name in names]
    twice = [name for name, place in zip(names, places, strict=True) if places.count(place) > 1]
    if twice:
        raise HarnessError(f"{argument}= names {twice[0]} twice, which would double its weight")
    folder = sanitize_model_name(SEPARATOR.join(names))
    if argument == "pretrained" and len(folder.encode()) > 255:
        logger.warning(
            "lm-eval names the results folder after pretrained=, whose %d characters are more than "
            "the 255 of a file name: with --output_path, give a file NAME.json, or shorter paths",
            len(folder),
        )
    return names
