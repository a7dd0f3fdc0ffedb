# SPDX-License-Identifier: Apache-2.0
"""How well heads predict numbers, and how often their weighted sum prefers as the numbers do."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from harness.models.load.aspects import Aspect, weighted
from harness.training.gather import Part
from harness.training.rows import ASPECTS
from harness.training.split import prompt_key

Row = dict[str, Any]
SAME = 1e-9  # weighted sums that differ by less are equal, but for rounding


def figures_of(
    parts: Sequence[Part], said: Sequence[Sequence[Sequence[float]]], aspects: Sequence[Aspect]
) -> dict[str, dict[str, Any]]:
    """The figures of `all` rows, and of each part's where it has any, by its name.

    Args:
        parts: of validation.
        said: said[p][i][j] is what head j says of row i of part p, standardised.
        aspects: of the heads.
    """
    all_rows = [row for part in parts for row in part.rows]
    all_said = [row for part in said for row in part]
    made = {"all": _figures(all_rows, all_said, aspects)}
    for part, own in zip(parts, said, strict=True):
        if part.rows:
            made[part.name] = _figures(part.rows, own, aspects)
    return made


def _figures(
    rows: Sequence[Row], said: Sequence[Sequence[float]], aspects: Sequence[Aspect]
) -> dict[str, Any]:
    by_head = zip(*said, strict=True)
    by_column = zip(*(row[ASPECTS] for row in rows), strict=True)
    heads = {}
    for one, values, truth in zip(aspects, by_head, by_column, strict=True):
        heads[one.name] = regression([one.undone(value) for value in values], truth)
    rewards = [weighted(aspects, row) for row in said]
    return {"rows": len(rows), "aspects": heads, **_preferences(rows, rewards, aspects)}


def regression(predicted: Sequence[float], truth: Sequence[float]) -> dict[str, float | None]:
    """Mean squared error, R² and Pearson's correlation; the last two None where nothing varies.

    R² = 1 - (sum of squared errors) / (sum of squared distances to the mean of the truth).

    >>> regression([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])["r2"]
    0.5
    """
    count = len(truth)
    mean, other = math.fsum(truth) / count, math.fsum(predicted) / count
    errors = math.fsum((p - t) ** 2 for p, t in zip(predicted, truth, strict=True))
    spread = math.fsum((t - mean) ** 2 for t in truth)
    predicted_spread = math.fsum((p - other) ** 2 for p in predicted)
    both = math.fsum((p - other) * (t - mean) for p, t in zip(predicted, truth, strict=True))
    scale = math.sqrt(spread * predicted_spread)
    return {
        "mse": errors / count,
        "r2": 1 - errors / spread if spread else None,
        "pearson": both / scale if scale else None,
    }


def _preferences(
    rows: Sequence[Row], rewards: Sequence[float], aspects: Sequence[Aspect]
) -> dict[str, float | int | None]:
    """Accuracy on each two answers to a prompt whose weighted numbers differ."""
    by_prompt: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, reward in zip(rows, rewards, strict=True):
        pairs = zip(aspects, row[ASPECTS], strict=True)
        truth = math.fsum(one.weight * value for one, value in pairs)
        by_prompt[prompt_key(row["prompt"])].append((truth, reward))
    right, ties = [], 0
    for answers in by_prompt.values():
        for (one, first), (other, second) in combinations(answers, 2):
            if abs(one - other) < SAME:
                ties += 1
            else:
                right.append((one > other) == (first > second) and first != second)
    share = sum(right) / len(right) if right else None
    return {
        "pairs": len(right),
        "ties": ties,
        "accuracy": share,
        "accuracy_stderr": None if share is None else math.sqrt(share * (1 - share) / len(right)),
    }
