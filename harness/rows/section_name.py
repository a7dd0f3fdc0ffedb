# SPDX-License-Identifier: Apache-2.0
"""The name of the section that a row counts towards."""

from __future__ import annotations

import json
import math
from typing import Any

from harness.errors import HarnessError
from harness.rows.text import refuse_broken


def section_name(value: Any, column: str) -> str:
    """The name of a section; numbers and true or false as JSON writes them.

    Raises:
        HarnessError: it is neither a name nor a number.

    >>> section_name(3, "level"), section_name(0.5, "level"), section_name(True, "level")
    ('3', '0.5', 'true')
    """
    is_number = isinstance(value, int | float) and math.isfinite(value)
    text = json.dumps(value) if is_number else value
    if not isinstance(text, str) or not text.strip():
        raise HarnessError(f"column {column} is {value!r}, expected the name of a section")
    refuse_broken(text, f"column {column}")
    return text
