# SPDX-License-Identifier: Apache-2.0
"""How good the chosen answer of a pair is, as a share of the best one's score in its source.

By these, imitation leaves the poor ones out (arXiv 2309.03126).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError

SCORE = "score"


def score_of(raw: Mapping[str, Any], column: str | None) -> float | None:
    """The score of a row as it stands in its column; None where there is none.

    Raises:
        HarnessError: it is no number, or negative.
    """
    value = raw.get(column) if column is not None else None
    if value is None or value == "":
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not 0 <= score < math.inf:
        raise HarnessError(f"column {column} is {value!r}, expected a score, 0 or above")
    return score


def normalise(rows: Sequence[dict[str, Any]]) -> None:
    """Divide the scores of a source's rows by the largest; rows without one stay so.

    Raises:
        HarnessError: all of them are 0.
    """
    scored = [row for row in rows if SCORE in row]
    largest = max((row[SCORE] for row in scored), default=1.0)
    if not largest:
        raise HarnessError(f"the scores of all {len(scored)} chosen answers are 0")
    for row in scored:
        row[SCORE] /= largest
