"""`dogerm search --prune race`: which trials are given up, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM

from harness.study import evaluate
from harness.study import rows as rows_of_tasks
from harness.study.race_order import Order
from harness.study.remembering import ANSWERS, as_file
from harness.study.rows import Rows
from harness.study.trial_race import Racer, TrialRace
from harness.study.worker import Job, Outcome
from tests.harness.conftest import preference_rows
from tests.harness.study.recipes import at
from tests.harness.study.searching import Searching, trials
from tests.harness.study.sweeping import pairs

ROWS = 80


@pytest.fixture
def folder(tmp_path: Path, reward_model: Path, language_model: Path) -> Searching:
    made = Searching(tmp_path, [reward_model, language_model])
    made.write_task("chosen", pairs("chosen", 32))
    return made


@pytest.fixture
def rows(write_rows: Callable[..., Path]) -> Rows:
    data = write_rows(preference_rows("math-prm", ROWS))
    (found,) = rows_of_tasks.load(["rewardbench-math-prm"], [], metadata={"data_dir": str(data)})
    return found


class Knowing(LM):
    """A model that is right on some of the rows.

    Args:
        right: the prompts of these.
    """

    def __init__(self, right: Iterable[str]) -> None:
        super().__init__()
        self._right = set(right)

    def loglikelihood(self, requests: list[Any], **more: Any) -> list[Any]:
        # The chosen answer is the first of a document.
        return [
            (float((one.doc["prompt"] in self._right) == (one.idx == 0)), False, {})
            for one in requests
        ]

    def loglikelihood_rolling(self, requests: list[Any], **more: Any) -> list[Any]:
        raise NotImplementedError

    def generate_until(self, requests: list[Any], **more: Any) -> list[Any]:
        raise NotImplementedError


def measured(job: Job, rows: Rows, right: slice) -> Outcome:
    """What a worker gives for a merge that is right on these rows."""
    (task,) = rows.leaves.values()
    model = Knowing(doc["prompt"] for doc in list(task.eval_docs)[right])
    if job.part is None:
        done = evaluate.evaluate(model, rows, {}, told_as="a merge")
    else:
        with Order([rows], job.part.order).part(rows, job.part) as part:
            done = evaluate.evaluate(model, part, {}, told_as="a merge")
    files = {**done.files, ANSWERS: as_file({})}
    return Outcome(job, results={rows.name: done.results}, files={rows.name: files})


def raced(rows: Rows, right: slice, best: str | None, rising: bool = True) -> Racer:
    """A trial that was in the race until it lost or was done."""
    racer = TrialRace([rows], "accuracy").enter("trial 1", at(right.stop / ROWS))
    for job in racer.jobs():
        racer.take(measured(job, rows, right))
        if racer.has_lost(best, rising):
            break
    return racer


@pytest.mark.parametrize(
    ("right", "rising", "lost"),
    [
        (slice(20), True, True),
        (slice(60), True, False),
        (slice(20, 80), True, False),
        (slice(80), True, False),
        (slice(20), False, False),
        (slice(80), False, True),
    ],
)
def test_what_is_really_worse_is_given_up_and_nothing_else(
    rows: Rows, right: slice, rising: bool, lost: bool
) -> None:
    """Against a trial that is right on 60 of 80 rows; one that is as good sees all rows."""
    best = raced(rows, slice(60), None)
    assert (best.share, best.score.value, best.score.items) == (1, 0.75, ROWS)
    racer = raced(rows, right, best.kept, rising)
    assert (racer.share < 1) == lost == (not racer.kept)
    assert racer.score.items == racer.share * ROWS


def test_each_trial_has_an_order_of_its_own(rows: Rows) -> None:
    """And one order's values are found in another."""
    first, second = Order([rows], "weight = 0.1"), Order([rows], "weight = 0.2")
    (leaf,) = rows.leaves
    assert first.of_leaf(leaf) != second.of_leaf(leaf) != Order([rows]).of_leaf(leaf)
    places = first.places_in(second)
    assert [places[unit] for unit in first.of_leaf(leaf)] == second.of_leaf(leaf)


def test_a_search_that_goes_on_knows_the_best_trial_of_before(folder: Searching) -> None:
    """Its values are in the study: what is given up is what an unbroken search gives up."""
    options = "--groups", "parts", "--prune", "race", "--trials"
    folder.searched(*options, "5")
    continued = trials(folder.searched(*options, "10"))
    assert continued[5][1] == "pruned"  # no trial of this run is finished yet
    folder.out = folder.folder / "unbroken"
    assert trials(folder.searched(*options, "10")) == continued


def test_rows_fewer_than_parts_and_several_tasks(folder: Searching) -> None:
    folder.write_task("chosen", pairs("chosen", 3))
    more = folder.write_task("more", pairs("more", 2))
    chosen = str(folder.folder / "chosen.yaml")
    options = "--trials", "3", "--select", chosen, "--select", str(more)
    raced = folder.searched(*options, "--prune", "race")["trials"]
    folder.out = folder.folder / "whole"
    whole = folder.searched(*options)["trials"]
    assert raced[0]["state"] == "complete"
    for one, full in zip(raced, whole, strict=True):
        assert one["state"] == "pruned" or one["score"] == full["score"]
        assert one["scored"] == 10 * one["share"]


def test_a_metric_that_is_no_race_is_refused_before_any_trial(folder: Searching) -> None:
    result = folder.search("--prune", "race", "--metric", "margin", "--trials", "2")
    assert result.exit_code == 1
    told = result.stderr.splitlines()[-1]
    assert told.startswith("Error: chosen: no race on its margin") and "--prune race" in told
    assert "trial 0" not in result.stderr
