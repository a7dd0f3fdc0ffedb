"""What a reader is told beside the figures."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.study import sweep as summary
from harness.study.choose import BEST, ONE_STANDARD_ERROR, Score
from tests.harness.study.recipes import at, recipe_of
from tests.harness.study.sweeping import Workshop


def notes(
    scores: list[float],
    chosen: int,
    most: str = "1",
    rule: str = BEST,
    stderr: float | None = 0.05,
    dropped: tuple[str, ...] = (),
) -> str:
    step = Decimal(most) / (len(scores) - 1)
    spec = SimpleNamespace(recipe=recipe_of("lm"), metric="accuracy", split=None)
    points = [at(float(step * index)) for index in range(len(scores))]
    plan: Any = SimpleNamespace(points=points, rule=rule, spec=spec)
    swept: Any = SimpleNamespace(
        measured=[
            SimpleNamespace(point=point, score=Score(score, stderr, 100))
            for point, score in zip(points, scores, strict=True)
        ],
        best=scores.index(max(scores)),
        chosen=chosen,
        raced=SimpleNamespace(dropped=dropped) if dropped else None,
    )
    return "; ".join(summary._notes(plan, swept))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ([0.6, 0.5, 0.4], 0),
            "on the selection rows no merge is better than it",
        ),
        (
            ([0.6, 0.5, 0.4], 0, "1", BEST, 0.05, ("λ = 1",)),
            "on the selection rows no merge that was left in the race is better than it",
        ),
        (([0.6, 0.62, 0.4], 0, "1", ONE_STANDARD_ERROR), "within one standard error of the best"),
        (([0.6, 0.64, 0.4], 1), "mostly chance"),
        (([0.4, 0.5, 0.6], 2), "nothing of the reward model is left but its head"),
        (([0.4, 0.5, 0.6], 2, "0.5"), "the largest that was tried: try larger ones"),
        (([0.4, 0.6, 0.5], 1, "1", ONE_STANDARD_ERROR, None), "no standard error"),
    ],
)
def test_what_a_choice_may_not_mean(given: tuple[Any, ...], told: str) -> None:
    assert told in notes(*given)


def test_a_clear_choice_needs_no_note() -> None:
    assert notes([0.4, 0.6, 0.5], 1) == ""


def test_report_rows_that_earlier_runs_opened_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reward_model: Path, language_model: Path
) -> None:
    """Another list of weights, or another rule, chosen after a look at the report rows."""
    monkeypatch.chdir(tmp_path)
    workshop = Workshop(tmp_path, [reward_model, language_model])
    found = workshop.swept()
    assert not any("earlier runs in this folder" in note for note in found["notes"])
    seen = workshop.out / "results" / "0.5" / "report"
    if not seen.exists():
        shutil.copytree(workshop.out / "results" / "1" / "report", seen)
    others = workshop.swept("--weight", "0:1:1")["notes"]
    (note,) = [note for note in others if "earlier runs in this folder" in note]
    assert "(0.5)" in note
