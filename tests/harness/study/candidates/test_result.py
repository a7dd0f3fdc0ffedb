# SPDX-License-Identifier: Apache-2.0
"""What a study's page says of its own intervals."""

from __future__ import annotations

import pytest

from harness.study.candidates.config import Study
from harness.study.candidates.figures import Scored
from harness.study.candidates.result import _notes


@pytest.mark.parametrize(("seeds", "begins"), [([1], "one seed (1)"), ([1, 2], "2 seeds")])
def test_intervals_are_told_to_be_over_rows_alone(seeds: list[int], begins: str) -> None:
    trained = {"train": {"kind": "reward", "config": {}}}
    study = Study.model_validate(
        {
            "general": "general",
            "tasks": {"domain": ["facts"]},
            "seeds": seeds,
            "candidates": {"general": {"model": "reward"}, "trained": trained},
        }
    )
    (note,) = _notes(study, Scored({None: {}}))
    assert note.startswith(begins)
    assert "over rows alone" in " ".join(note.split()) and "trained" in note
