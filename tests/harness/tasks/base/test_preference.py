"""The task that every preference benchmark is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.conversation import Conversation
from harness.tasks.base.preference import pairwise
from tests.harness.conftest import oracle, preference_rows

Write = Callable[..., Path]


def load(manager: Any, name: str) -> Any:
    return manager.load([name])["tasks"][name]


def test_the_metrics_of_a_pair() -> None:
    assert pairwise(["longer", "short"], [2.0, 0.5]) == {
        "accuracy": 1.0,
        "margin": 1.5,
        "ties": 0.0,
        "longer": 1.0,
    }
    tied = pairwise(["same", "size"], [2.0, 2.0])
    assert tied["accuracy"] == 0.0 and tied["ties"] == 1.0 and tied["longer"] == 0.5


def test_a_request_keeps_text_messages_and_the_bare_response(
    tasks: Callable[..., Any], write_rows: Write
) -> None:
    """No delimiter before the response, whatever lm-eval's default is."""
    task = load(tasks(data_dir=write_rows(preference_rows("hep-go", 2))), "rewardbench-hep-go")
    task.set_config(key="num_fewshot", value=0)
    task.build_all_requests(system_instruction="Be brief.")
    context, response = task.instances[0].args
    assert isinstance(context, Conversation)
    assert context == "Be brief.\n\nUser: What is 0 + 0? (hep-go)\n\nAssistant: "
    assert [message["role"] for message in context.messages] == ["system", "user"]
    assert response == "0 + 0 is 0."


def test_a_system_message_of_the_data_follows_the_instruction(
    tasks: Callable[..., Any], write_rows: Write
) -> None:
    rows = preference_rows("hep-go", 1)
    rows[0]["prompt"] = [
        {"role": "system", "content": "You are a coder."},
        {"role": "user", "content": "Go"},
    ]
    task = load(tasks(data_dir=write_rows(rows)), "rewardbench-hep-go")
    first = task.messages(rows[0], "Be brief.")[0]
    assert first == {"role": "system", "content": "Be brief.\n\nYou are a coder."}
    assert task.messages(rows[0])[0]["content"] == "You are a coder."


def test_the_request_cache_of_lm_eval_is_left_alone(
    tasks: Callable[..., Any], write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key does not say which data file the requests are from."""
    import lm_eval.api.task

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("wrote to the request cache")

    monkeypatch.setattr(lm_eval.api.task, "save_to_cache", forbidden)
    task = load(tasks(data_dir=write_rows(preference_rows("hep-go", 2))), "rewardbench-hep-go")
    task.set_config(key="num_fewshot", value=0)
    task.build_all_requests(cache_requests=True, rewrite_requests_cache=True)
    assert len(task.instances) == 4


def test_an_empty_first_response_does_not_stop_the_task(
    tasks: Callable[..., Any], write_rows: Write
) -> None:
    rows = preference_rows("hep-go", 2)
    rows[0]["chosen"] = ""
    task = load(tasks(data_dir=write_rows(rows)), "rewardbench-hep-go")
    assert task.doc_to_choice(rows[0])[0] == ""


def test_predict_only_runs(tasks: Callable[..., Any], write_rows: Write) -> None:
    """Responses are scored and kept, and no metric is computed, whatever its aggregation."""
    import lm_eval

    rows = [{**row, "chosen": "x 1", "rejected": "x 0"} for row in preference_rows("hep-go", 2)]
    results = lm_eval.simple_evaluate(
        oracle(),
        tasks=["rewardbench-hep-go"],
        task_manager=tasks(data_dir=write_rows(rows)),
        predict_only=True,
    )
    assert results["samples"]["rewardbench-hep-go"][0]["filtered_resps"][0][0] == 1.0
    metrics = [key for key in results["results"]["rewardbench-hep-go"] if "," in key]
    assert metrics == ["bypass,none", "bypass_stderr,none"]


def test_more_processes_than_documents_are_refused(
    tasks: Callable[..., Any], write_rows: Write
) -> None:
    task = load(tasks(data_dir=write_rows(preference_rows("hep-go", 3))), "rewardbench-hep-go")
    task.set_config(key="num_fewshot", value=0)
    with pytest.raises(HarnessError, match="hep-go has 3 documents to score, too few for 4 proc"):
        task.build_all_requests(world_size=4)
    with pytest.raises(HarnessError, match="has 1 documents"):
        task.build_all_requests(world_size=2, limit=1)
    with pytest.raises(HarnessError, match="hep-go has no document -1"):
        task.build_all_requests(samples=[-1, 2])
    task.build_all_requests(world_size=3, rank=2)
    assert len(task.instances) == 2
