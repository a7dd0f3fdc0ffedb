# SPDX-License-Identifier: Apache-2.0
"""Whether two recipes say the same."""

from __future__ import annotations

import math
import os
from typing import Any


def difference(found: Any, expected: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two recipes don't say the same; None where they do.

    Numbers may be spelt in different ways, and folders named by different paths.

    Returns:
        the place, such as ``models.0.parameters.weight``, and what stands there in either.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in dict.fromkeys([*expected, *found]):
            inner = difference(found.get(key), expected.get(key), f"{place}.{key}".strip("."))
            if inner:
                return inner
        return None
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            if inner := difference(one, other, f"{place}.{number}"):
                return inner
        return None
    return None if _same(found, expected) else (place, found, expected)


def _same(found: Any, expected: Any) -> bool:
    if found == expected:
        return True
    try:
        return math.isclose(float(found), float(expected), abs_tol=1e-9)
    except (TypeError, ValueError):
        pass
    paths = [one for one in (found, expected) if isinstance(one, str) and os.path.exists(one)]
    return len(paths) == 2 and os.path.samefile(*paths)
