# SPDX-License-Identifier: Apache-2.0
"""Tables and pictures of training in stages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.show import stages
from harness.show.stages_plot import figure
from harness.training.stage_scores import Scored

SETS = {"law": [1.0, 0.5, 0.0, 1.0], "art": [0.0, 0.5, 1.0, 0.0], "general pairs": [1.0, 1.0, 0.0]}
PAIRS = {"law": 8, "art": 8, "general pairs": 3}


def made(stage: str, name: str, **changes: list[float]) -> Scored:
    return Scored(stage, name, f"out/{name}", {**SETS, **changes}, PAIRS)


LANGUAGE = made("language model", "language model")
GENERAL = made("general", "general", art=[1.0, 0.5, 1.0, 0.0])
LAW = made("customized", "law", law=[1.0, 1.0, 1.0, 1.0])
ART = made("customized", "art", art=[1.0, 1.0, 1.0, 1.0])


def test_each_stage_is_compared_with_the_one_that_it_started_from() -> None:
    """Two domains are both compared with the general model, not with each other."""
    assert stages.before([LANGUAGE]) is None
    assert stages.before([LANGUAGE, GENERAL]) is LANGUAGE
    assert stages.before([LANGUAGE, GENERAL, LAW, ART]) is GENERAL
    change = stages.changes([LANGUAGE, GENERAL, LAW, ART])["law"]
    assert (change.items, change.a, change.b) == (4, 0.625, 0.625)
    change = stages.changes([LANGUAGE, GENERAL, LAW])["law"]
    assert (change.a, change.b, change.difference) == (0.625, 1.0, 0.375)


def test_errors_are_over_prompts() -> None:
    mean, error = stages.accuracy([1.0, 0.5, 0.0, 1.0])
    assert mean == 0.625
    assert error == pytest.approx(math.sqrt(0.6875 / 3 / 4))
    assert math.isnan(stages.accuracy([1.0])[1])


def test_the_table() -> None:
    """The domain itself stands first; the share of mirrored pairs is told below."""
    text = list(stages.lines([LANGUAGE, GENERAL, ART], (16, 16)))
    assert text[0] == "customized for art: accuracy on held-out pairs"
    assert text[1].split() == [
        "pairs",
        "prompts",
        "accuracy",
        "general",
        "change",
        "95%",
        "p",
        "(Holm)",
    ]
    assert text[3].split()[:5] == ["art", "8", "4", "1.000", "±0.000"]
    assert "+0.375" in text[3] and text[4].startswith("law")
    assert text[-1].startswith("16 of the domains' 16 held-out pairs stand in another domain")
    first = list(stages.lines([LANGUAGE]))
    assert first[0].endswith("by mean log-probability of the answer's tokens")
    assert len(first) == 6


def test_the_summary() -> None:
    """The paper's table: three stages for each domain."""
    text = stages.summary([LANGUAGE, GENERAL, LAW, ART], "general pairs")
    assert text[0].split("  ")[-1].strip() == "general pairs"
    assert [row.split() for row in text[2:4]] == [
        [name, *before, "1.000", "±0.000", "0.667", "±0.333"]
        for name, before in (
            ("law", ["0.625", "±0.239", "0.625", "±0.239"]),
            ("art", ["0.375", "±0.239", "0.625", "±0.239"]),
        )
    ]
    assert text[4].split()[:4] == ["general", "pairs", "0.667", "±0.333"]
    assert len(text) == 5


def test_the_files(tmp_path: Path) -> None:
    stages.write(tmp_path, [LANGUAGE], (0, 0))
    assert not (tmp_path / "stages.png").exists()
    stages.write(tmp_path, [LANGUAGE, GENERAL, LAW, ART], (0, 0))
    found = json.loads((tmp_path / "stages.json").read_text())
    assert found["notes"] == [] and found["stages"][0]["change"] == {}
    assert found["stages"][3]["since"] == "general"
    assert found["stages"][3]["change"]["art"]["difference"] == pytest.approx(0.375)
    assert (tmp_path / "stages.png").stat().st_size > 5000
    before = (tmp_path / "stages.json").read_bytes()
    stages.write(tmp_path, [LANGUAGE, GENERAL], (0, 0))  # the same run, started again
    assert (tmp_path / "stages.json").read_bytes() == before
    stages.write(tmp_path, [LANGUAGE, LAW], (0, 0))
    assert len(json.loads((tmp_path / "stages.json").read_text())["stages"]) == 2


def test_a_panel_for_each_domain() -> None:
    drawn = figure([LANGUAGE, GENERAL, LAW, ART])
    assert [axes.get_title() for axes in drawn.axes] == ["law", "art"]
    ticks = [label.get_text() for label in drawn.axes[0].get_xticklabels()]
    assert ticks == ["language\nmodel", "general", "customized"]
    (alone,) = figure([LANGUAGE, GENERAL]).axes
    assert alone.get_title() == ""
