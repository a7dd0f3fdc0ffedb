# SPDX-License-Identifier: Apache-2.0
"""How weights, rows and sections of a sweep or search are called wherever it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.show.study_file import SectionScore, StudyFile


def lambda_is(label: str) -> str:
    """A point's label as it is read.

    >>> lambda_is("0.35"), lambda_is("0.2,0.1,density=0.5")
    ('λ = 0.35', 'λ = (0.2, 0.1), density = 0.5')
    >>> lambda_is("unmerged"), lambda_is("weight=0.6")
    ('the reward model', 'weight = 0.6')
    """
    if label == "unmerged":  # of a method without a number for it
        return "the reward model"
    if label == "as-written":  # of one without a number at all
        return "the merge"
    values: dict[str, list[str]] = {}
    for part in label.split(","):
        name, _, value = part.rpartition("=")
        values.setdefault(name or "λ", []).append(value)
    return ", ".join(
        f"{name} = ({', '.join(several)})" if len(several) > 1 else f"{name} = {several[0]}"
        for name, several in values.items()
    )


def rows_of(study: StudyFile) -> tuple[str, str]:
    """Which rows chose, and which are reported: tasks, with their share where they are divided."""
    chosen_on = ", ".join(study.select)
    if study.split is None:
        return chosen_on, ", ".join(study.report)
    share = 100 * study.split
    reported_on = (
        f"{name} (the other {100 - share:g}%)" if name in study.select else name
        for name in study.report
    )
    return f"{chosen_on} ({share:g}% of the prompts)", ", ".join(reported_on)


def shallow(sections: Sequence[SectionScore], most: int) -> list[SectionScore]:
    """The sections down to the deepest level at which there are at most so many.

    Those of the top level always, for they are what the user asked for.
    """
    depths = sorted({section.depth for section in sections})
    for depth in reversed(depths):
        shown = [section for section in sections if section.depth <= depth]
        if len(shown) <= most or depth == depths[0]:
            return shown
    return []


def short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
