# SPDX-License-Identifier: Apache-2.0
"""How weights, rows and sections of a sweep are called in its pictures and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def lambda_is(label: str) -> str:
    """A point's label as it is read.

    >>> lambda_is("0.35"), lambda_is("0.2,0.1,density=0.5")
    ('λ = 0.35', 'λ = (0.2, 0.1), density = 0.5')
    """
    values: dict[str, list[str]] = {}
    for part in label.split(","):
        name, _, value = part.rpartition("=")
        values.setdefault(name or "λ", []).append(value)
    return ", ".join(
        f"{name} = ({', '.join(several)})" if len(several) > 1 else f"{name} = {several[0]}"
        for name, several in values.items()
    )


def rows_of(sweep: Mapping[str, Any]) -> tuple[str, str]:
    """Which rows chose, and which are reported: tasks, with their share where they are divided."""
    chosen_on = ", ".join(sweep["select"])
    if sweep["split"] is None:
        return chosen_on, ", ".join(sweep["report"])
    share = 100 * sweep["split"]
    reported_on = (
        f"{name} (the other {100 - share:g}%)" if name in sweep["select"] else name
        for name in sweep["report"]
    )
    return f"{chosen_on} ({share:g}% of the prompts)", ", ".join(reported_on)


def shallow(sections: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """The sections down to the deepest level at which there are at most so many.

    Those of the top level always, for they are what the user asked for.
    """
    depths = sorted({section["depth"] for section in sections})
    for depth in reversed(depths):
        found = [section for section in sections if section["depth"] <= depth]
        if len(found) <= most or depth == depths[0]:
            return found
    return []


def short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
