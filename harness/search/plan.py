# SPDX-License-Identifier: Apache-2.0
"""What a search was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from harness.search.worker import Spec
from harness.sweep.rows import Rows
from harness.sweep.weights import Point

MEDIAN, HALVING, NONE = "median", "halving", "none"


@dataclass(frozen=True)
class Plan:
    """What a search was asked for.

    Attributes:
        spec: what is measured, and how.
        rows: those of the spec, loaded.
        groups: see `dogerm_plugin.recipe.groups.parse`; None: one λ for each domain model.
        low: the least λ (with several domain models: Σλ) of a group.
        high: the largest.
        step: of the grid.
        sampler: ``tpe``, ``cmaes``, ``random`` or ``grid``.
        trials: how many there are to be; a grid has as many as points.
        timeout: seconds after which no trial is begun.
        prune: `MEDIAN`, `HALVING` or `NONE`.
        baseline: the points of the plain sweep.
        storage: Optuna's URL; None: a file in the search's folder.
        seed: of the sampler and of the resampling.
        command: as it was typed.
    """

    spec: Spec
    rows: Sequence[Rows]
    groups: str | None
    low: Decimal
    high: Decimal
    step: Decimal | None
    sampler: str
    trials: int
    timeout: float | None
    prune: str
    baseline: Sequence[Point]
    storage: str | None
    seed: int
    command: str
