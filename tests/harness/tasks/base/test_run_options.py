"""--limit and --samples that make no sense for our tasks end in one line; others are let be."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests import warm
from tests.harness.conftest import oracle, preference_rows

TASK = "rewardbench-hep-go"


def numbered(count: int) -> list[dict[str, Any]]:
    """Rows whose margin is their number."""
    rows = preference_rows("hep-go", count)
    return [
        {**row, "chosen": f"It is {number}", "rejected": "It is 0"}
        for number, row in enumerate(rows, start=1)
    ]


@pytest.fixture
def run(tasks: Callable[..., Any], write_rows: Callable[..., Path]) -> Callable[..., Any]:
    """lm-eval on five rows; the documents' numbers and margins."""
    import lm_eval

    manager = tasks(data_dir=write_rows(numbered(5)))

    def evaluate(*names: str, **options: Any) -> list[tuple[int, float]]:
        results = lm_eval.simple_evaluate(
            oracle(),
            tasks=list(names) or [TASK],
            task_manager=manager,
            bootstrap_iters=0,
            **options,
        )
        return [(one["doc_id"], one["margin"]) for one in results["samples"][TASK]]

    return evaluate


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf, -1, -0.5, 0, 0.0, 1e30, True])
def test_a_limit_that_is_no_number_of_documents(run: Callable[..., Any], limit: Any) -> None:
    with pytest.raises(
        HarnessError, match=f"^--limit {limit}: expected a number".replace("+", ".")
    ):
        run(limit=limit)


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (3.0, 3), (99, 5), (0.5, 3), (None, 5)])
def test_a_limit_that_is_one(run: Callable[..., Any], limit: Any, count: int) -> None:
    assert [doc for doc, _ in run(limit=limit)] == list(range(count))


WRONG = {
    "a text": ("some words", "--samples some words is neither a JSON object"),
    "a list": ([1, 2], "is neither a JSON object"),
    "a number": (5, "is neither a JSON object"),
    "another name": ({"rewardbench-hep-og": [0]}, f"of this run; did you mean '{TASK}'?"),
    "a name like none": ({"hellaswag": [0]}, r"of this run \(they are: rewardbench-"),
    "too large": ({TASK: [0, 5]}, "has no document 5; its 5 documents are numbered from 0 to 4"),
    "negative": ({TASK: [-1]}, "has no document -1"),
    "a fraction": ({TASK: [0.5]}, "has 0.5 among its documents"),
    "a truth": ({TASK: [True]}, "has True among its documents"),
    "a word": ({TASK: ["1"]}, "has '1' among its documents"),
    "nothing": ({TASK: []}, r"has \[\], expected a list"),
    "null": ({TASK: None}, "has None, expected a list"),
    "one number": ({TASK: 1}, "has 1, expected a list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_samples_that_are_none(run: Callable[..., Any], name: str) -> None:
    samples, said = WRONG[name]
    with pytest.raises(HarnessError, match=said):
        run(samples=samples)


def test_a_group_has_no_documents_of_its_own(
    tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    import lm_eval

    with pytest.raises(HarnessError, match="rewardbench_chat is a group; name the tasks in it"):
        lm_eval.simple_evaluate(
            oracle(),
            tasks=["rewardbench_chat"],
            task_manager=tasks(data_dir=write_rows(preference_rows("alpacaeval-easy", 3))),
            samples={"rewardbench_chat": [0]},
        )


def test_samples_in_any_order_keep_their_numbers(run: Callable[..., Any]) -> None:
    """lm-eval scores them in the data's order and would log them in the list's."""
    assert run(samples={TASK: [3, 1, 3]}) == [(1, 2.0), (3, 4.0)]


def test_lm_evals_own_tasks_alone_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.evaluator
    from lm_eval.api.task import ConfigurableTask

    class Own(ConfigurableTask):
        def __init__(self) -> None:
            from datasets import Dataset

            docs = Dataset.from_list([{"q": str(i)} for i in range(3)])
            super().__init__(
                config={
                    "task": "own",
                    "custom_dataset": lambda **_: {"test": docs},
                    "test_split": "test",
                    "output_type": "multiple_choice",
                    "doc_to_text": "q",
                    "doc_to_choice": ["1", "2"],
                    "doc_to_target": 0,
                    "num_fewshot": 0,
                }
            )

    loaded = {"tasks": {"own": Own()}, "groups": {}}
    with pytest.raises(ValueError, match="did not find any docs"):
        lm_eval.evaluator.evaluate(oracle(), loaded, limit=0)
    with pytest.raises(ValueError, match="cannot convert float NaN"):
        lm_eval.evaluator.evaluate(oracle(), loaded, limit=math.nan)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["limit", "file", "samples and limit", "no output path"])
def test_the_command_says_it_in_one_line(what: str, tmp_path: Path, reward_model: Path) -> None:
    file = tmp_path / "samples.json"
    file.write_text('{"minipref-math": [0,')
    options, said = {
        "limit": (["--limit", "nan"], "Error: --limit nan: expected a number of documents"),
        "file": (["--samples", str(file)], f"Error: --samples {file}: Expecting value: line 1"),
        "samples and limit": (
            ["--limit", "1", "--samples", json.dumps({"minipref-math": [0]})],
            "Error: If --samples is not None",
        ),
        "no output path": (["--log_samples"], "Error: Specify --output_path"),
    }[what]
    command = ["run", "--model", "reward", "--device", "cpu"]
    command += ["--tasks", "minipref-math", "--model_args", f"pretrained={reward_model}", *options]
    done = warm.run("lm_eval", *command)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith(said)
