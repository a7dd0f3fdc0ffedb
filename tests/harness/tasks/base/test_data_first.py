"""A run of one of our models reads its data before the model, and tells all that is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pytest

from harness.errors import HarnessError
from tests.harness.conftest import oracle, preference_rows

TASK = "rewardbench-hep-go"
NOWHERE = {"model": "reward", "model_args": "pretrained=no/such/model"}


def rows() -> list[dict[str, Any]]:
    answers = {"chosen": "It is 2", "rejected": "It is 1"}
    return [{**row, **answers} for row in preference_rows("hep-go", 3)]


def run(manager: Any, tasks: list[Any], **options: Any) -> Any:
    return lm_eval.simple_evaluate(tasks=tasks, task_manager=manager, bootstrap_iters=0, **options)


def test_data_and_options_come_before_the_model(
    tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """The model is not there either, which is told where the data are."""
    folder = write_rows(rows(), "other")
    with pytest.raises(HarnessError, match=r"has no rewardbench\.jsonl, .json or .parquet, and no"):
        run(tasks(data_dir=folder), [TASK], **NOWHERE)
    write_rows(rows())
    manager = tasks(data_dir=folder)
    with pytest.raises(HarnessError, match=r"^--limit 0: expected a number of documents"):
        run(manager, [TASK], limit=0, **NOWHERE)
    with pytest.raises(HarnessError, match=r"^--samples: rewardbench-hep-go has no document 3"):
        run(manager, [TASK], samples={TASK: [3]}, **NOWHERE)
    with pytest.raises(HarnessError, match="no/such/model"):
        run(manager, [TASK], **NOWHERE)


def test_all_that_is_missing_is_told_at_once(
    tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """Each benchmark once, however many of its tasks were asked for; what is there is not."""
    manager = tasks(data_dir=write_rows(rows()))
    with pytest.raises(HarnessError) as told:
        run(manager, ["panel", "rewardmath"], **NOWHERE)
    (lacks, hub) = str(told.value).split("; put NAME.jsonl", 1)
    names = lacks.partition("has no rows of ")[2].split(", ")
    assert len(names) == len(set(names)) and "rewardbench" not in names
    assert {"rewardbench2", "rmbench", "judgebench", "rewardmath", "rmb-bon-harmlessness"} < {
        *names
    }
    assert """--metadata '{"missing": "hub"}'""" in hub and "not on the Hub: rmb-" in hub
    assert hub.count("github.com") == 1


def test_the_tasks_are_those_of_one_run(
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    reward_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are loaded once; a next run, of other tasks, loads its own. A model's object as ever."""
    from lm_eval.tasks import TaskManager

    loads: list[Any] = []
    load = TaskManager.load
    monkeypatch.setattr(
        TaskManager, "load", lambda self, given: loads.append(given) or load(self, given)
    )
    manager = tasks(data_dir=write_rows(rows()))
    real = {"model": "reward", "model_args": f"pretrained={reward_model}", "device": "cpu"}
    for limit, names in ((2, [TASK]), (1, ["minipref-math"])):
        results = run(manager, names, limit=limit, **real)
        (name,) = names
        assert results["n-samples"][name]["effective"] == limit
    assert loads == [[TASK], ["minipref-math"]]
    assert list(run(manager, [TASK], model=oracle())["results"]) == [TASK]
    assert len(loads) == 3
