# SPDX-License-Identifier: Apache-2.0
"""What a search may try where it chooses the merge method, too: each method has its own space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.study.recipe import METHOD
from harness.study.space import Space


@dataclass(frozen=True)
class MethodSpace:
    """Several methods' spaces as one; the numbers of those that were not drawn are passed over.

    Attributes:
        spaces: method -> its space, whose values are all drawn.
    """

    spaces: Mapping[str, Space]
    step: None = None

    def drawn(self) -> dict[str, tuple[Any, ...]]:
        """What Optuna draws: name -> bounds, and the methods' names among which it chooses."""
        numbers = {
            f"{method}/{name}": bounds
            for method, space in self.spaces.items()
            for name, bounds in space.drawn().items()
        }
        return {METHOD: tuple(self.spaces), **numbers}

    def params(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The method, and every value of it by its name."""
        method = drawn[METHOD]
        own = {
            name.removeprefix(f"{method}/"): value
            for name, value in drawn.items()
            if name.startswith(f"{method}/")
        }
        return {METHOD: method, **self.spaces[method].params(own)}

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a point; see `Space.values`."""
        numbers = {name: value for name, value in params.items() if name != METHOD}
        return {METHOD: params[METHOD], **self.spaces[params[METHOD]].values(numbers)}

    def points(self) -> list[dict[str, float]]:
        """No grid: it has no end that is the same for all methods."""
        return []

    def as_dict(self) -> dict[str, str]:
        """What the space is, in words."""
        return {
            f"{method}: {name}": text
            for method, space in self.spaces.items()
            for name, text in space.as_dict().items()
        }
