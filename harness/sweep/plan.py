# SPDX-License-Identifier: Apache-2.0
"""What a sweep was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.sweep.bench import Settings
from harness.sweep.rows import Rows
from harness.sweep.variants import Recipe
from harness.sweep.weights import Point


@dataclass(frozen=True)
class Plan:
    """What a sweep was asked for.

    Attributes:
        recipe: the recipe, as read.
        points: the weights to try, by total; the first is 0, the reward model itself.
        rows: of all roles.
        metric: what chooses, and is reported.
        rule: of `harness.sweep.choose`.
        split: the share of the prompts of the selection tasks that chooses; None: all of them.
        settings: how merges are loaded and scored.
        command: as it was typed.
        seed: of the resampling.
        include_path: folders with a user's own tasks.
    """

    recipe: Recipe
    points: Sequence[Point]
    rows: Sequence[Rows]
    metric: str
    rule: str
    split: float | None
    settings: Settings
    command: str
    seed: int = 0
    include_path: Sequence[Path] = ()

    def rows_of(self, role: str) -> list[Rows]:
        return [one for one in self.rows if one.role == role]
