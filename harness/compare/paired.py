# SPDX-License-Identifier: Apache-2.0
"""One typed view of a paired comparison, whoever measured it: what all tables are drawn from.

The same classes write it as JSON and read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

BETTER: Literal["better"] = "better"
WORSE: Literal["worse"] = "worse"
NOISE: Literal["noise"] = "noise"
SAME: Literal["same"] = "same"

# Between the texts that tell a prompt, where it belongs with those that have any of them.
ALSO = "\x1f"


class Record(BaseModel):
    """What stands in a JSON file: of exactly these types, with keys of later versions kept."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow", frozen=True)

    def as_dict(self) -> dict[str, Any]:
        """JSON types only, without what was left out when it was made or read."""
        return self.model_dump(exclude_unset=True)


class PairedStatistics(Record):
    """Two models on the same items; all values in the metric's own unit.

    Attributes:
        items: how many.
        prompts: as many as are drawn independently: fewer, where items share one.
        a: the score of A, the weighted sum of the strata's means.
        b: the score of B.
        difference: b − a.
        low: lower end of the bootstrap interval of the difference.
        high: upper end.
        p: two-sided p-value for "which model an item's value is from makes no difference".
        test: how p was found: exact, or drawn.
    """

    items: int
    prompts: int | None = None  # files of earlier versions do not say
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    test: Literal["mcnemar", "sign-flip"]


class PairedDifference(PairedStatistics):
    """How a task or group differs between two models.

    Attributes:
        depth: how many groups it is in.
        gained: items on which B is better than A.
        lost: items on which it is worse.
        p_holm: p corrected over all tasks, or over all groups.
        verdict: `BETTER` (B than A), `WORSE`, `NOISE`, or `SAME` where no item differs.
    """

    name: str
    depth: Annotated[int, Field(ge=0)]
    is_group: bool
    gained: int
    lost: int
    p_holm: float
    verdict: Literal["better", "worse", "noise", "same"]


class PairedComparison(Record):
    """B against A in all sections, corrected together.

    Attributes:
        confidence: of the intervals; 1 minus it is what a corrected p must be below.
        resamples: of the bootstrap, and draws of the sign-flip test.
        seed: of both.
        notes: what was not compared, or needs care.
    """

    metric: str
    confidence: float
    resamples: int
    seed: int
    sections: Sequence[PairedDifference]
    notes: list[str]
