"""Length says much about human preferences; these functions take that hint away or measure it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

Row = TypeVar("Row", bound=Mapping[str, str])


def length_difference(row: Mapping[str, str]) -> int:
    """Characters of the chosen answer minus those of the rejected one."""
    return len(row["chosen"]) - len(row["rejected"])


def balance_length(rows: Sequence[Row], seed: int) -> list[Row]:
    """The largest random choice of rows in which the longer answer is chosen in half of the pairs.

    Pairs of equally long answers are all kept. The order of the rows stays.
    """
    longer = [i for i, row in enumerate(rows) if length_difference(row) > 0]
    shorter = [i for i, row in enumerate(rows) if length_difference(row) < 0]
    rng = random.Random(f"balance {seed}")
    keep = min(len(longer), len(shorter))
    dropped = set(rng.sample(longer, len(longer) - keep))
    dropped |= set(rng.sample(shorter, len(shorter) - keep))
    return [row for i, row in enumerate(rows) if i not in dropped]


def length_matched(rows: Sequence[Row], tolerance: float = 0.1) -> list[int]:
    """Positions of the pairs whose answers differ by at most `tolerance` of the longer one."""
    return [
        i
        for i, row in enumerate(rows)
        if abs(length_difference(row)) <= tolerance * max(len(row["chosen"]), len(row["rejected"]))
    ]


def longer_is_chosen(rows: Sequence[Row]) -> float:
    """Accuracy of always preferring the longer answer; equal lengths count half."""
    if not rows:
        return float("nan")
    points = {True: 1.0, False: 0.0}
    scores = [0.5 if (d := length_difference(row)) == 0 else points[d > 0] for row in rows]
    return sum(scores) / len(scores)
