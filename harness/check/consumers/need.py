# SPDX-License-Identifier: Apache-2.0
"""What a consumer needs of a reward model: looked for, and put right where that loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.check.consumers.stored import StoredReward


class Kind(StrEnum):
    """How much a lack weighs."""

    FATAL = "the model can't be used, and no other layout would help"
    MENDED = "another layout or key is needed, which loses nothing"
    UNKNOWN = "nobody could look it up"
    CARE = "it works, if who calls it takes care"


@dataclass
class Plan:
    """How a model is to be written anew; what it does not name stays byte for byte.

    Attributes:
        config: config.json as it is to be.
        names: a tensor's name on disk -> the new one.
        dropped: names on disk of those that are left out.
        added: tensors that no weight file has, by their new name.
    """

    config: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    added: dict[str, Any] = field(default_factory=dict)


Mend = Callable[[Plan], None]


@dataclass(frozen=True)
class Lack:
    """Something that a consumer misses.

    Attributes:
        why: what is found, and what comes of it.
        kind: how much it weighs.
        mend: changes a plan so that it is no longer missing.
        change: what `mend` does, in a few words.
    """

    why: str
    kind: Kind = Kind.FATAL
    mend: Mend | None = None
    change: str = ""


def mended(why: str, change: str, mend: Mend) -> Lack:
    """A lack that a copy of the model doesn't have."""
    return Lack(why, Kind.MENDED, mend, change)


Need = Callable[[StoredReward], Lack | None]
