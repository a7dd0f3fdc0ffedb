"""A growing part of the rows, each of which is scored once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from harness.rows.conversation import Conversation
from harness.search import rungs
from harness.search.remembering import Remembering
from harness.sweep import rows as rows_of_tasks
from harness.sweep.rows import Rows
from tests.harness.conftest import preference_rows


@pytest.fixture
def section(write_rows: Callable[..., Path]) -> Rows:
    """Two leaves of 8 and of 3 rows."""
    data = write_rows([*preference_rows("math-prm", 8), *preference_rows("hep-python", 3, start=8)])
    (found,) = rows_of_tasks.load(["rewardbench_reasoning"], [], metadata={"data_dir": str(data)})
    return found


def prompts(rows: Rows) -> dict[str, list[str]]:
    return {name: [doc["prompt"] for doc in task.eval_docs] for name, task in rows.leaves.items()}


def test_a_larger_part_has_all_of_a_smaller_one(section: Rows) -> None:
    """Of every leaf its share, rounded up; afterwards everything is there again, in its order."""
    whole = prompts(section)
    parts = []
    for share in rungs.SHARES:
        with rungs.part(section, share):
            parts.append(prompts(section))
        assert prompts(section) == whole
    sizes = [[len(part[name]) for name in sorted(part)] for part in parts]
    assert sizes == [[1, 2], [2, 4], [3, 8]]
    for smaller, larger in itertools.pairwise(parts):
        assert all(set(smaller[name]) <= set(larger[name]) for name in whole)
    assert parts[-1] == whole


def test_a_part_has_nothing_to_do_with_the_order_of_the_file(section: Rows, tmp_path: Path) -> None:
    data = tmp_path / "data" / "rewardbench.jsonl"
    with rungs.part(section, 0.5):
        expected = {name: set(found) for name, found in prompts(section).items()}
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    data.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)), "utf-8")
    (again,) = rows_of_tasks.load(
        ["rewardbench_reasoning"], [], metadata={"data_dir": str(data.parent)}
    )
    with rungs.part(again, 0.5):
        assert {name: set(found) for name, found in prompts(again).items()} == expected


class Counting:
    """A model that notes what it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        self.asked += [request.args[1] for request in requests]
        return [(float(len(request.args[1])), False, {}) for request in requests]


def request(response: str) -> Any:
    prompt = Conversation("Hi", [{"role": "user", "content": "Hi"}])
    return Instance("loglikelihood", {}, (prompt, response), 0)


def test_a_row_is_scored_once_until_the_weights_change() -> None:
    model = Counting()
    remembering = Remembering(model)
    assert remembering.name == "counting"
    assert [one[0] for one in remembering.loglikelihood([request("a"), request("bb")])] == [1, 2]
    later = [request("ccc"), request("bb"), request("a"), request("bb")]
    assert [one[0] for one in remembering.loglikelihood(later)] == [3, 2, 1, 2]
    assert model.asked == ["a", "bb", "ccc"]
    remembering.forget()
    remembering.loglikelihood([request("a")])
    assert model.asked[3:] == ["a"]
    assert remembering.scored == 4
