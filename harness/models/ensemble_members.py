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


def member_names(pretrained: str | Sequence[str] | None) -> list[str]:
    """The members' folders or Hub ids.

    Raises:
        HarnessError: fewer than two, one of them twice, or a folder that is none.
    """
    listed = pretrained.split(SEPARATOR) if isinstance(pretrained, str) else pretrained or []
    names = [str(name).strip() for name in listed]
    if len(names) < 2 or not all(names):
        raise HarnessError(
            f"an ensemble has two or more members, pretrained={pretrained} gives "
            f"{sum(map(bool, names))}; write --model_args 'pretrained=A;B' in quotation marks (a "
            "shell ends the command at ;)"
        )
    names = [folder_or_hub_id(name, "pretrained") for name in names]
    places = [os.path.realpath(name) if os.path.isdir(name) else name for name in names]
    twice = [name for name, place in zip(names, places, strict=True) if places.count(place) > 1]
    if twice:
        raise HarnessError(f"pretrained= names {twice[0]} twice, which would double its weight")
    folder = sanitize_model_name(SEPARATOR.join(names))
    if len(folder.encode()) > 255:
        logger.warning(
            "lm-eval names the results folder after pretrained=, whose %d characters are more than "
            "the 255 of a file name: with --output_path, give a file NAME.json, or shorter paths",
            len(folder),
        )
    return names
