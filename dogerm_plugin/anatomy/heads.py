# SPDX-License-Identifier: Apache-2.0
"""What becomes of the heads of the models that are merged."""

from __future__ import annotations

from enum import StrEnum


class Heads(StrEnum):
    """What the output's head is, as said to people."""

    KEPT = "the reward model's"
    AVERAGED = "averaged"
    STACKED = "put one beside the other"
