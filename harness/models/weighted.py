# SPDX-License-Identifier: Apache-2.0
"""``combine=weighted``: the weighted sum of the heads of one trunk, as aspects of an answer are.

The weights are the checkpoint's own (`harness.models.load.aspects`), or those of ``weights=``.
Where the checkpoint knows its heads' scales, a weight is that of a prediction in the units of its
column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models.combination import Combination
from harness.models.load import aspects
from harness.models.load.aspects import Aspect
from harness.rows.answer import Answer

WEIGHTED = "weighted"


@dataclass(frozen=True)
class Weighted(Combination):
    """A weighted sum.

    Attributes:
        aspects: one for each head; none before the model is loaded.
    """

    rule: str = WEIGHTED
    aspects: tuple[Aspect, ...] = ()

    @property
    def kind(self) -> str:
        """What a combined score is, for tables and samples."""
        shown = ", ".join(f"{one.weight:g} {one.name}" for one in self.aspects)
        return f"weighted sum of heads ({shown})"

    @property
    def info(self) -> dict[str, Any]:
        """What results.json says of it."""
        return {"combine": self.rule, "weights": [one.weight for one in self.aspects]}

    def answer(self, rewards: Sequence[float], truncated: bool) -> Answer:
        """A response's answer: ``members`` holds what each head says, in its column's units."""
        pairs = zip(self.aspects, rewards, strict=True)
        details = {
            "kind": self.kind,
            "members": [one.undone(value) for one, value in pairs],
            "truncated": truncated,
            "within_document": False,
        }
        return Answer(aspects.weighted(self.aspects, rewards), False, details)


def of_model(config: Any, adapter: Path | None, heads: Sequence[str], weights: Any) -> Weighted:
    """The combination that a loaded model's heads ask for.

    Args:
        config: the model's.
        adapter: its adapter's folder, if it has one.
        heads: their names.
        weights: ``weights=`` as typed, one for each head, with ``;`` between; None: the model's.

    Raises:
        HarnessError: no weights, no numbers, or other counts than heads.
    """
    stored = None if adapter is None else aspects.beside(adapter)
    if stored is None and (written := getattr(config, aspects.KEY, None)) is not None:
        stored = aspects.read(written, "config.json")
    names = ", ".join(heads)
    if stored is not None and len(stored) != len(heads):
        raise HarnessError(
            f"`{aspects.KEY}` of the model names {len(stored)} heads, and it has {len(heads)} "
            f"({names})"
        )
    if weights is None:
        if stored is None:
            raise HarnessError(
                f"combine={WEIGHTED}: the model says no weights for its heads ({names}): give "
                "weights= with a number for each and ; between"
            )
        return Weighted(aspects=tuple(stored))
    given = [_number(one, weights) for one in str(weights).split(";")]
    if len(given) != len(heads):
        raise HarnessError(
            f"weights={weights} has {len(given)} numbers, and the model {len(heads)} heads "
            f"({names}): give one for each, with ; between"
        )
    known = stored or [Aspect(name, 0.0, 1.0, 1.0) for name in heads]
    pairs = zip(known, given, strict=True)
    return Weighted(aspects=tuple(replace(one, weight=weight) for one, weight in pairs))


def _number(text: str, weights: Any) -> float:
    """A weight; what is to count against an answer has one below 0."""
    try:
        parsed = float(text)
    except ValueError:
        parsed = math.nan
    if not math.isfinite(parsed):
        raise HarnessError(f"weights={weights}: {text!r} is no number")
    return parsed
