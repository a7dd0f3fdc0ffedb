# SPDX-License-Identifier: Apache-2.0
"""What a study's page says of its own intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.study.candidates.config import Study
from harness.study.candidates.figures import Scored
from harness.study.candidates.result import _notes, _trained
from harness.study.candidates.steps import SCORE, TRAIN, Step
from harness.study.candidates.variants import Variant


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


def test_a_router_is_trained_on_no_tokens_of_its_own(tmp_path: Path) -> None:
    """It has seconds; a reward model behind it adds its tokens, once an epoch."""
    nothing: dict[str, Any] = {"made_with": {}, "files": {}, "called": ()}
    variant = Variant("x", None, {})
    router = Step(TRAIN, variant, output=tmp_path / "router", needs=(), **nothing)
    labels = Step(TRAIN, variant, output=tmp_path / "labels", needs=(), **nothing)
    for step, figures in ((router, {"seconds": 2.0}), (labels, {"training_tokens": 10})):
        step.output.mkdir()
        (step.output / "figures.json").write_text(json.dumps(figures), "utf-8")
    settings = {"settings": {"training": {"epochs": 4}}}
    (labels.output / "run.json").write_text(json.dumps(settings), "utf-8")
    steps = {"router": router, "labels": labels}
    scored = {
        needs: Step(SCORE, variant, output=tmp_path, needs=needs, **nothing)
        for needs in ((), ("router",), ("router", "labels"))
    }
    trained = {needs: _trained(step, steps) for needs, step in scored.items()}
    assert trained == {(): (None, None), ("router",): (None, 2.0), ("router", "labels"): (40, 2.0)}
