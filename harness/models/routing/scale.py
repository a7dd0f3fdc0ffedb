# SPDX-License-Identifier: Apache-2.0
"""On what scale an expert's rewards are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Scale(BaseModel):
    """An expert's rewards on the calibration rows.

    Attributes:
        mean: of its rewards.
        std: their standard deviation.
        files: a digest of the checkpoint that gave them; empty where nobody wrote it down.
        base: of an adapter, a digest of the base that it was on; as `files`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    mean: float = Field(allow_inf_nan=False)
    std: float = Field(gt=0, allow_inf_nan=False)
    files: str = ""
    base: str = ""

    def standard(self, reward: float) -> float:
        """A reward in standard deviations from the mean."""
        return (reward - self.mean) / self.std


def as_plain(scales: Mapping[str, Scale]) -> dict[str, Any]:
    """Scales by name as a file has them, without what nobody wrote down."""
    return {name: scale.model_dump(exclude_defaults=True) for name, scale in scales.items()}
