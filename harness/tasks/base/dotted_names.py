# SPDX-License-Identifier: Apache-2.0
"""Under which dotted name users' YAML files and results know a task's class."""

from __future__ import annotations


def known_as(kind: type) -> str:
    """Its own name, or the one that it had before its module moved (``DOTTED_NAME``)."""
    return kind.__dict__.get("DOTTED_NAME") or f"{kind.__module__}.{kind.__name__}"
