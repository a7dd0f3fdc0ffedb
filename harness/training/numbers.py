# SPDX-License-Identifier: Apache-2.0
"""Numbers in the columns of rows that are trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError

ONE_ANSWER = (
    "; a row of one answer is what `dogerm train sft` learns from, or with "
    "`aspects: {columns: [...]}` a reward model from its numbers"
)


def number_in(raw: Mapping[str, Any], column: str) -> float:
    """The number of a row's column; text that is one counts as one, as CSV files have them.

    Raises:
        HarnessError: names the column, which is missing, or holds no finite number.
    """
    value = raw.get(column)
    if (number := as_number(value)) is None:
        found = f"is {value!r}" if column in raw else "is missing"
        raise HarnessError(f"column {column} {found}, expected a number")
    return number


def as_number(value: Any) -> float | None:
    """A finite number, of a number or of text; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
