"""What a sweep says at its end."""

from __future__ import annotations

from typing import Any

import pytest

from harness.show import numbers, sweep_text
from harness.show.study_file import SweepFile
from tests.harness.show import example


def swept() -> dict[str, Any]:
    sweep = example.sweep()
    sweep["made"] |= {"scoring_seconds": 90.0, "merging_seconds": 1.25}
    return sweep


def lines(sweep: dict[str, Any]) -> list[str]:
    return sweep_text.text(SweepFile.model_validate(sweep)).splitlines()


def test_a_line_for_each_weight_with_its_sections() -> None:
    sweep = swept()
    found = lines(sweep)
    assert found[0] == "Selection, 500 rows of gsm8k_pairs, minipref-math:"
    assert found[1].split() == ["λ", "accuracy", "gsm8k_pairs", "minipref-math", "s"]
    rows = [line.split() for line in found[3 : found.index("")]]
    assert [row[0] for row in rows] == [point["label"] for point in sweep["points"]]
    point = sweep["points"][3]
    assert rows[3][1:5] == [
        f"{point['score']:.3f}",
        f"±{point['stderr']:.3f}",
        *(f"{section['score']:.3f}" for section in point["sections"]),
    ]
    marks = {row[0]: row[-1] for row in rows if row[-1] in ("best", "chosen")}
    chosen, best = (sweep["points"][sweep[key]]["label"] for key in ("chosen", "best"))
    assert marks == {chosen: "chosen", best: "best"}


def test_the_report_has_what_was_gained_and_whether_it_is_noise() -> None:
    sweep = swept()
    found = lines(sweep)
    start = next(n for n, line in enumerate(found) if line.startswith("Report, rows that did not"))
    assert "rewardbench" in found[start]
    heading = found[start + 1]
    for one in sweep["reported"]:
        assert f"λ = {one['label']}" in heading
    for section in sweep["proof"]["sections"]:
        (line,) = [line for line in found[start:] if line.strip().split("  ")[0] == section["name"]]
        assert line.startswith("  " * section["depth"] + section["name"])
        assert f"{section['difference']:+.3f}" in line
        assert line.endswith(section["verdict"])
        assert ("~" in line) == (section["test"] == "sign-flip")


def test_notes_come_last_those_of_the_comparison_too() -> None:
    sweep = swept()
    sweep["notes"], sweep["proof"]["notes"] = ["one"], ["two"]
    assert lines(sweep)[-2:] == ["Note: one", "Note: two"]


def test_without_a_proof_there_are_scores_only() -> None:
    """Where the reward model itself is chosen."""
    sweep = swept()
    sweep["proof"] = None
    text = sweep_text.text(SweepFile.model_validate(sweep))
    assert "interval" not in text
    assert "rewardbench" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "<0.001"), (0.0005, "0.001"), (0.25, "0.250"), (1.0, "1.000")]
)
def test_a_p_value_is_told_with_three_digits(value: float, text: str) -> None:
    assert numbers.p_value(value) == text


def test_sizes_are_told_in_units() -> None:
    assert numbers.size(2_500_000_000) == "2.5 GB"
    assert numbers.size(250_000_000) == "250 MB"
