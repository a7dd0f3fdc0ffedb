# SPDX-License-Identifier: Apache-2.0
"""What the heads of a reward model of several aspects are: their columns, scales and weights.

Heads are trained on standardised columns. A head's prediction in its column's own units is
mean + std · head, and the reward the sum of weight · prediction. A checkpoint has this in
config.json, an adapter in a file beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

KEY = "aspects"
FILE = "aspects.json"


@dataclass(frozen=True)
class Aspect:
    """A column that a head predicts.

    Attributes:
        name: the column's.
        mean: of the rows that were trained on.
        std: of the same.
        weight: of the prediction, in the column's units, in the reward.
    """

    name: str
    mean: float
    std: float
    weight: float

    def undone(self, value: float) -> float:
        """What a head says, in the column's units."""
        return self.mean + self.std * value


def weighted(aspects: Sequence[Aspect], values: Sequence[float]) -> float:
    """The reward that the heads' values make together."""
    pairs = zip(aspects, values, strict=True)
    return math.fsum(one.weight * one.undone(value) for one, value in pairs)


def declare(config: Any, aspects: Sequence[Aspect]) -> None:
    """Put them into a model's config, as its labels' names, too."""
    config.num_labels = len(aspects)
    config.id2label = {number: one.name for number, one in enumerate(aspects)}
    config.label2id = {one.name: number for number, one in enumerate(aspects)}
    setattr(config, KEY, [asdict(one) for one in aspects])


def as_text(aspects: Sequence[Aspect]) -> str:
    """The file beside an adapter."""
    return json.dumps([asdict(one) for one in aspects], indent=2) + "\n"


def beside(adapter: Path) -> list[Aspect] | None:
    """Those of an adapter's folder; None where it has none.

    Raises:
        HarnessError: the file is damaged.
    """
    file = adapter / FILE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HarnessError(f"{file} is no JSON: {error}") from error
    return read(content, str(file))


def read(content: Any, place: str) -> list[Aspect]:
    """Those of a config or a file.

    Raises:
        HarnessError: it is no list of a name and three numbers each.
    """
    made: list[Aspect] = []
    for one in content if isinstance(content, list) and content else [None]:
        given = dict(one) if isinstance(one, Mapping) else {}
        numbers: list[Any] = [given.get(name) for name in ("mean", "std", "weight")]
        finite = [float(n) for n in numbers if type(n) in (int, float) and math.isfinite(n)]
        if len(finite) < 3 or not isinstance(given.get("name"), str) or len(given) != 4:
            raise HarnessError(
                f"{place}: `{KEY}` holds {one!r}, expected a list with name, mean, std and weight "
                "of each head"
            )
        made.append(Aspect(given["name"], *finite))
    return made
