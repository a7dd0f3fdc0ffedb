# SPDX-License-Identifier: Apache-2.0
"""Rows that do not fit, counted by what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PLACES = 5  # of rows with one fault that are named


@dataclass
class Fault:
    """Rows with the same fault: how many, the first places, and what is said of the first."""

    said: str
    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count one more row with this fault."""
        self.count += 1
        if len(self.places) < PLACES:
            self.places.append(place)

    def where(self) -> str:
        """The places, shortened: ``lines 3, 4 and 7 more``."""
        kind = self.places[0].partition(" ")[0]
        numbers = ", ".join(place.partition(" ")[2] for place in self.places)
        more = f" and {self.count - len(self.places)} more" if self.count > PLACES else ""
        return f"{kind}{'s' if self.count > 1 else ''} {numbers}{more}"


class Faults(dict[str, Fault]):
    """Faults by their kind: what is said of them, without names and numbers of the single row."""

    def add(self, said: str, place: str) -> None:
        """Note a fault of a row."""
        kind = re.sub(r"""'[^']*'|"[^"]*"|\d+|\{.*\}""", "_", said)
        self.setdefault(kind, Fault(said)).add(place)

    @property
    def rows(self) -> int:
        """How many rows have a fault."""
        return sum(fault.count for fault in self.values())
