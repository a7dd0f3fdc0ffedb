"""`dogerm sweep --race` on tiny models: what is dropped, what it costs, what is never chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.show import read as report
from harness.study import racing
from harness.study.race_order import Order, Part
from harness.study.race_values import UnitValues
from harness.study.rows import SELECT, Rows, load
from tests.harness.conftest import preference_rows
from tests.harness.study.sweeping import Workshop, figures, pairs

WEIGHTS = ("--weight", "0:1:0.125")


@pytest.fixture
def workshop(tmp_path: Path, reward_model: Path, language_model: Path) -> Workshop:
    made = Workshop(tmp_path, [reward_model, language_model])
    made.write_task("chosen", pairs("chosen", 40))
    return made


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty rows show little: any lead is enough here."""
    monkeypatch.setattr(racing, "ALPHA", 0.9)
    kept = racing.lost.__defaults__
    assert kept is not None
    monkeypatch.setattr(racing.lost, "__defaults__", (0.9,))


def parts(workshop: Workshop) -> set[str]:
    """``λ/race/part`` of what is kept."""
    results = workshop.out / "results"
    return {
        str(one.parent.parent.relative_to(results))
        for one in results.glob("*/race/*/*/made-with.json")
    }


def test_halving_costs_half_and_chooses_among_full_scores_only(workshop: Workshop) -> None:
    """The picture, the table and the file tell which values were dropped and on how many rows."""
    workshop.draws = True
    result = workshop.sweep(*WEIGHTS, "--race", "halving")
    assert result.exit_code == 0, result.output
    found = workshop.content()
    race, points = found["race"], found["points"]
    assert len(points) + len(race["dropped"]) == 9
    assert race["share"] <= 0.5
    assert race["rows"] == 40
    assert {one["rows"] for one in race["dropped"]} <= {5 * part for part in range(1, 8)}
    assert points[0]["label"] == "0"
    assert all(one["items"] == 40 for one in points)
    full = {f"{one['label']}/select/chosen" for one in points}
    assert {place for place in workshop.measured() if "/select/" in place} == full
    for one in race["dropped"]:
        told = f"dropped after {one['rows']} of 40 rows"
        assert any(
            line.split()[0] == one["label"] and told in line
            for line in result.output.splitlines()
            if line.strip()
        )
        assert one["seconds"]["score"] > 0
    assert report.read(workshop.out / "sweep.json").race.share == race["share"]  # type: ignore[union-attr]
    assert (workshop.out / "lambda.png").stat().st_size > 10_000


def test_a_race_that_drops_nothing_is_the_full_sweep(workshop: Workshop) -> None:
    """Rows measured in parts have the scores that they have in one."""
    alike = ("--weight", "0:0.004:0.001")
    raced = workshop.swept(*alike, "--race", "significant")
    race = raced.pop("race")
    assert race["dropped"] == []
    assert race["share"] == 1
    whole = Workshop(workshop.folder, workshop.models)
    whole.out = workshop.folder / "whole"
    whole.write_task("chosen", pairs("chosen", 40))
    assert figures(raced) == figures(whole.swept(*alike))


def test_what_is_lost_is_dropped_and_the_choice_is_that_of_the_full_sweep(
    workshop: Workshop, eager: None
) -> None:
    raced = workshop.swept(*WEIGHTS, "--race", "significant")
    assert {one["why"] for one in raced["race"]["dropped"]} == {"significant"}
    before = workshop.measured(), parts(workshop)
    again = workshop.sweep(*WEIGHTS, "--race", "significant")
    assert (workshop.measured(), parts(workshop)) == before  # nothing is measured twice
    assert "loading" not in again.stderr
    assert figures(workshop.content()) == figures(raced)
    full = workshop.swept(*WEIGHTS)  # now all of them, those that were dropped too
    assert "race" not in full
    assert len(full["points"]) == 9
    by_label = {one["label"]: one["score"] for one in full["points"]}
    assert {one["label"]: by_label[one["label"]] for one in raced["points"]} == {
        one["label"]: one["score"] for one in raced["points"]
    }
    assert full["points"][full["chosen"]]["score"] >= max(one["score"] for one in raced["points"])
    # What is measured in full is taken as it is: nothing can be dropped any more.
    third = workshop.swept(*WEIGHTS, "--race", "significant")
    assert third["race"]["dropped"] == []
    third.pop("race")
    assert figures(third) == figures(full)


class Stopped(Exception):
    """In the middle of a race."""


def test_a_killed_race_goes_on(
    workshop: Workshop, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measures no part twice and ends as one that was not killed."""
    from harness.study.store import Store

    writing, left = Store.writing, iter(range(13))

    def dying(self: Store, *what: Any) -> Any:
        if next(left, None) is None:
            raise Stopped
        return writing(self, *what)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "writing", dying)
        assert isinstance(workshop.sweep(*WEIGHTS, "--race").exception, Stopped)
    before = parts(workshop)
    assert len(before) == 13
    result = workshop.sweep(*WEIGHTS, "--race")
    assert result.stderr.count("from an earlier run") == 13
    assert before < parts(workshop)
    killed = workshop.content()
    other = Workshop(workshop.folder, workshop.models)
    other.out = workshop.folder / "other"
    other.write_task("chosen", pairs("chosen", 40))
    assert figures(other.swept(*WEIGHTS, "--race")) == figures(killed)


def test_other_rows_are_raced_anew(workshop: Workshop) -> None:
    """A part is of all selection rows: with any other row it is another part."""
    workshop.swept("--race", "halving")
    workshop.write_task("chosen", pairs("chosen", 41))
    result = workshop.sweep("--race", "halving")
    assert result.exit_code == 0, result.output
    assert "rows  (from an earlier run)" not in result.stderr
    assert workshop.content()["race"]["rows"] == 41


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--rule", "one-standard-error"), "--race finds the best score"),
        (("--metric", "margin"), "no race on its margin"),
    ],
)
def test_what_is_no_race_is_refused_in_one_line(
    workshop: Workshop, given: tuple[str, ...], told: str
) -> None:
    result = workshop.sweep("--race", "significant", *given)
    assert result.exit_code != 0
    assert told in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output


@pytest.fixture
def section(write_rows: Any) -> Iterator[Rows]:
    """Two leaves of 8 and of 3 rows, that count otherwise than by their rows."""
    rows = [*preference_rows("math-prm", 8), *preference_rows("hep-python", 3, start=8)]
    rows += [{**rows[0], "id": 99}]  # one prompt twice: it stays together
    (found,) = load(["rewardbench_reasoning"], [], metadata={"data_dir": str(write_rows(rows))})
    yield found


def test_parts_are_units_of_all_tasks_and_each_row_is_in_one(section: Rows) -> None:
    order = Order([section])
    assert (order.units, order.rows) == (11, 12)
    of = 4
    seen: dict[str, list[int]] = {leaf: [] for leaf in section.leaves}
    for number in range(1, of + 1):
        part = Part(number, of)
        with order.part(section, part) as rows:
            for leaf, task in rows.leaves.items():
                assert len(list(task.eval_docs)) == len(order.numbers(leaf, part)) > 0
        for leaf in section.leaves:
            seen[leaf] += order.numbers(leaf, part)
    assert {leaf: sorted(found) for leaf, found in seen.items()} == {
        leaf: list(range(len(list(task.eval_docs)))) for leaf, task in section.leaves.items()
    }
    assert order.rows_until(order.units) == 12
    twice = order.of_leaf("rewardbench-math-prm")
    assert len(set(twice)) == len(twice) - 1


def test_the_mean_of_the_units_is_the_score_of_the_group(
    workshop: Workshop, section: Rows, tmp_path: Path
) -> None:
    """By the group's own weights, from the files of a measurement."""
    data = next(tmp_path.rglob("rewardbench.jsonl")).parent
    given = ("--select", "rewardbench_reasoning", "--metadata", json.dumps({"data_dir": str(data)}))
    found = workshop.swept(*given, "--race", "halving", "--weight", "0,0.5,1")
    assert found["race"]["rows"] == 12
    from harness.study.measuring import TaskResult

    folder = workshop.out / "results" / "0" / SELECT / "rewardbench_reasoning"
    values = UnitValues(Order([section]), "accuracy")
    units = values.values([TaskResult.read(folder, "accuracy").run])
    assert float(np.mean(units)) == pytest.approx(found["points"][0]["score"])
    assert values.score(units)[0] == pytest.approx(found["points"][0]["score"])
    assert units.max() <= values.bound
