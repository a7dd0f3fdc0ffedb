"""lm-eval's requests hold no text: prompts are rendered when a request is looked at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.rows.conversation import Conversation
from harness.tasks.base.candidates import CandidateTask
from harness.tasks.base.requests import KEPT
from tests.harness.conftest import preference_rows

LEAF = "rewardbench-hep-python"


@pytest.fixture
def task(tasks: Callable[..., Any], write_rows: Callable[..., Path]) -> Any:
    folder = write_rows(preference_rows("hep-python", 3 * KEPT))
    return tasks(data_dir=folder).load([LEAF])["tasks"][LEAF]


def test_nothing_is_rendered_before_it_is_asked_for(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    original = CandidateTask.fewshot_context

    def noted(self: Any, doc: Any, *args: Any, **kwargs: Any) -> Conversation:
        rendered.append(doc["prompt"])
        return original(self, doc, *args, **kwargs)

    monkeypatch.setattr(CandidateTask, "fewshot_context", noted)
    task.build_all_requests(system_instruction="Be brief.")
    assert len(task.instances) == 6 * KEPT and not rendered
    for request in task.instances:  # as a model does: one after the other, more than once
        assert request.args == request.arguments
    assert len(rendered) == len(set(rendered)) == 3 * KEPT
    context, response = task.instances[1].args
    assert context.messages[0] == {"role": "system", "content": "Be brief."}
    assert response == task.eval_docs[0]["rejected"]


def test_a_request_is_small_and_names_its_row(task: Any) -> None:
    task.build_all_requests(samples=[30, 4], rank=1, world_size=2)
    first, second = task.instances
    assert not hasattr(first, "__dict__") and sys.getsizeof(first) < 100
    assert (first.doc, first.idx, second.idx) == (task.eval_docs[30], 0, 1)
    assert first.metadata == (LEAF, 1, 1) == (first.task_name, first.doc_id, first.repeats)
    assert task.eval_docs[30]["prompt"] in repr(first)


def test_a_limit_takes_the_first(task: Any) -> None:
    task.build_all_requests(limit=2)
    assert [request.doc for request in task.instances[::2]] == task.eval_docs[:2]


def test_no_document_is_kept_as_an_example(task: Any) -> None:
    assert task.fewshot_docs() is None and not hasattr(task, "sampler")
