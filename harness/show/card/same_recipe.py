# SPDX-License-Identifier: Apache-2.0
"""Whether two recipes say the same."""

from __future__ import annotations

import math
import os
from typing import Any


def difference(given: Any, expected: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two recipes don't say the same; None where they do.

    Numbers may be spelt in different ways, and folders named by different paths.

    Returns:
        the place, such as ``models.0.parameters.weight``, and what stands there in either.
    """
    if isinstance(given, dict) and isinstance(expected, dict):
        for key in dict.fromkeys([*expected, *given]):
            inner = difference(given.get(key), expected.get(key), f"{place}.{key}".strip("."))
            if inner:
                return inner
        return None
    if isinstance(given, list) and isinstance(expected, list) and len(given) == len(expected):
        for number, (one, other) in enumerate(zip(given, expected, strict=True)):
            if inner := difference(one, other, f"{place}.{number}"):
                return inner
        return None
    return None if _same(given, expected) else (place, given, expected)


def _same(given: Any, expected: Any) -> bool:
    if given == expected:
        return True
    try:
        return math.isclose(float(given), float(expected), abs_tol=1e-9)
    except (TypeError, ValueError):
        pass
    paths = [one for one in (given, expected) if isinstance(one, str) and os.path.exists(one)]
    return len(paths) == 2 and os.path.samefile(*paths)
