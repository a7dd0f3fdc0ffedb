"""RewardBench 2's Ties: one formula over all prompts, compared by its pairs of prompts."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare.comparison import RunComparison, compare_runs
from harness.compare.prompt_pairs import AloneError, pair_scores
from harness.compare.statistics import SIGN_FLIP
from harness.runs.results import find_run
from harness.tasks.rewardbench2 import scoring
from tests.harness.compare.conftest import dogerm, evaluate, reader
from tests.harness.test_command import results

Sides = list[tuple[float, float]]

NUMBERS = st.floats(-9, 9) | st.just(math.nan) | st.just(0.0)
GAPS = st.tuples(NUMBERS, NUMBERS, st.floats(0, 9) | st.just(math.nan) | st.just(0.0))


def prompts(pairs: list[tuple[float, float, float]]) -> dict[int, scoring.Prompt]:
    """All ref prompts, then all tied ones in reverse, for (gap, gap and spread of tied)."""
    refs = [scoring.Prompt(id=f"ref:{n}", gap=gap, spread=0) for n, (gap, _, _) in enumerate(pairs)]
    tied = [
        scoring.Prompt(id=f"tied:{n}", gap=gap, spread=spread)
        for n, (_, gap, spread) in enumerate(pairs)
    ]
    return dict(enumerate([*refs, *reversed(tied)]))


def test_a_pair_by_hand() -> None:
    """Both right, 2 > 1 and the smaller of 3 and 2 > 1: all but tanh(2 / 1 − 1) of the .01."""
    found = prompts([(3.0, 2.0, 1.0), (-1.0, 1.0, 2.0)])
    assert pair_scores("accuracy", found) == pytest.approx(
        {(0, 3): 1.0 + 0.01 * math.tanh(1), (1, 2): 0.3 + 0.01 * math.tanh(-1.5)}
    )
    assert pair_scores("ref_accuracy", found) == {(0, 3): 1.0, (1, 2): 0.0}


@given(st.lists(GAPS, min_size=1, max_size=12))
def test_every_formula_is_the_mean_over_its_pairs(pairs: list[tuple[float, float, float]]) -> None:
    found = prompts(pairs)
    for metric, formula in (
        ("accuracy", scoring.score),
        ("tied_accuracy", scoring.tied_accuracy),
        ("ref_accuracy", scoring.ref_accuracy),
        ("correctness_preferred", scoring.correctness_preferred),
        ("correctness_preferred_hard", scoring.correctness_preferred_hard),
        ("correctness_margin", scoring.correctness_margin),
    ):
        scores = pair_scores(metric, found)
        assert len(scores) == len(pairs)
        mean = math.fsum(scores.values()) / len(pairs)
        assert mean == pytest.approx(formula(list(found.values())), abs=1e-12)


def test_a_prompt_without_its_partner() -> None:
    found = prompts([(1.0, 1.0, 1.0)] * 3)
    del found[4]
    with pytest.raises(AloneError, match=r"accuracy is a mean .*: 1 of 5 have no partner"):
        pair_scores("accuracy", found)
    again = scoring.Prompt(id="ref:1", gap=1, spread=0)
    with pytest.raises(AloneError, match="2 of 2 have no partner"):
        pair_scores("accuracy", {0: again, 1: again})


def ties(pairs: int) -> list[dict[str, Any]]:
    """Completions whose rewards under A and B are their second and third word."""
    draw = random.Random(0)

    def completions(count: int, up: float) -> list[str]:
        rewards = [(draw.gauss(up, 1), draw.gauss(2 * up, 1)) for _ in range(count)]
        return [f"reward {a:.2f} {b:.2f}" for a, b in rewards]

    return [
        row(f"{kind}:{n}", completions(count, 1.0), completions(3, 0.0), "Ties")
        for kind, count in (("tied", 3), ("ref", 1))
        for n in range(pairs)
    ]


def row(name: str, right: list[str], wrong: list[str], subset: str) -> dict[str, Any]:
    return {
        "id": name,
        "prompt": f"question {name}",
        "chosen": right,
        "rejected": wrong,
        "num_correct": len(right),
        "subset": subset,
    }


def both_sides(folder: Path, rows: list[dict[str, Any]], **options: Any) -> tuple[Path, Path]:
    (folder / "data").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / "rewardbench2.jsonl").write_text(lines)
    a, b = (
        evaluate(folder / "data", ["rewardbench2"], reader(i), folder / name, **options)
        for i, name in ((1, "a"), (2, "b"))
    )
    return a, b


def compared(a: Path, b: Path, **options: Any) -> RunComparison:
    return compare_runs(find_run(a), find_run(b), **options)


FOCUS = [
    row(f"{n}", [f"reward {n % 3} 9"], ["reward 1 1", "reward 0 0"], "Focus") for n in range(9)
]


def test_ties_and_the_overall_score_are_compared(tmp_path: Path) -> None:
    """The p-value is that of the swap test: A and B of a pair exchanged, the score anew."""
    a, b = both_sides(tmp_path, ties(8) + FOCUS)
    report = compared(a, b)
    found = {section.name: section for section in report.sections}
    assert list(found) == ["rewardbench2", "rewardbench2-Focus", "rewardbench2-Ties"]
    for folder, side in ((a, "a"), (b, "b")):
        for name, section in found.items():
            theirs = results(folder)["results"][name]["accuracy,none"]
            assert getattr(section, side) == pytest.approx(theirs, abs=1e-12)
    section = found["rewardbench2-Ties"]
    assert section.items == 8 and section.test == SIGN_FLIP
    assert found["rewardbench2"].weights == pytest.approx(
        {"rewardbench2-Focus": 0.5, "rewardbench2-Ties": 0.5}
    )
    assert found["rewardbench2"].items == 17
    logged = [
        {
            (sample["accuracy"]["id"].partition(":")[2], sample["accuracy"]["id"]): sample[
                "accuracy"
            ]
            for sample in map(json.loads, next(f.glob("model/*-Ties_*.jsonl")).open())
        }
        for f in (a, b)
    ]
    differences = []
    for swapped in itertools.product([False, True], repeat=8):
        sides = [
            scoring.score([logged[side ^ swapped[int(key[0])]][key] for key in logged[0]])
            for side in (0, 1)
        ]
        differences.append(sides[1] - sides[0])
    assert section.difference == pytest.approx(differences[0], abs=1e-12)
    exact = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
    assert section.p == pytest.approx(exact, abs=0.015)
    assert section.low < section.difference < section.high
    notes = [note for note in report.notes if "rewardbench2-Ties" in note]
    assert notes == [
        "rewardbench2-Ties: an item is two prompts, ref:n and tied:n, which count together"
    ]
    flip = next(flip for flip in report.flips["rewardbench2-Ties"])
    assert flip.margin_a is None and flip.prompt.startswith("question tied:")
    assert "rewardbench2-Ties: " in dogerm(a, b, "--flips", 1)


def test_a_part_of_the_score_is_right_or_wrong(tmp_path: Path) -> None:
    a, b = both_sides(tmp_path, ties(4) + FOCUS)
    report = compared(a, b, metric="ref_accuracy", resamples=100)
    (section,) = report.sections
    assert section.test == "mcnemar" and section.items == 4
    assert section.b == results(b)["results"][section.name]["ref_accuracy,none"]


def test_other_prompts_in_a_pair_are_other_data(tmp_path: Path) -> None:
    a, b = both_sides(tmp_path, ties(3))
    file = next(b.glob("model/*-Ties_*.jsonl"))
    samples = [json.loads(line) for line in file.open()]
    samples[4]["doc_hash"] = "another"  # ref:1, whose pair has the doc_id of tied:1
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    assert "rewardbench2-Ties: doc_id 1 is not the same document in" in dogerm(a, b, status=1)


def test_under_limit_the_score_is_no_mean_and_left_out(tmp_path: Path) -> None:
    a, b = both_sides(tmp_path, ties(4) + FOCUS, limit=6)
    report = compared(a, b, resamples=100)
    assert [section.name for section in report.sections] == ["rewardbench2-Focus"]
    notes = " | ".join(report.notes)
    assert "rewardbench2-Ties: left out, as accuracy is a mean over pairs" in notes
    assert "2 of 6 have no partner" in notes
    assert "a task of theirs is left out: rewardbench2" in notes
