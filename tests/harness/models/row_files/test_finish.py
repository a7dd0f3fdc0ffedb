"""The output belongs to the rows that were scored, and nothing of a row is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.row_files import chunks as chunk_module
from harness.models.row_files import run as run_module
from harness.models.row_files.forms import Names
from harness.models.row_files.loading import Wanted
from harness.models.row_files.order import Order
from harness.models.row_files.selection import Filter
from harness.rows.source import Source
from tests.harness.conftest import oracle
from tests.harness.models.row_files.test_score import read, write

# As the model that is none reads them: a reward is the last word.
NUMBERED = [{"id": n, "prompt": f"{n // 3}?", "response": f"It is {n % 5}"} for n in range(18)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four rows, and a model that is none."""
    monkeypatch.setattr(chunk_module, "CONVERSATIONS", 4)
    monkeypatch.setattr(Wanted, "load", lambda self: oracle())


def order(data: Path, **more: Any) -> Order:
    return Order(Source(str(data)), Wanted("none"), data.with_name("out.jsonl"), **more)


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda rows: [rows[1], rows[0], *rows[2:]], "rewards of other rows .line 1 to line 4"),
        (lambda rows: [*rows, *rows], "rewards of other rows .line 17 to line 20"),
        (lambda rows: [*rows[:16], *rows], "rewards of other rows"),
        (lambda rows: rows[:8], "has fewer rows than when it was scored"),
    ],
)
def test_a_file_that_changes_while_it_is_scored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any], told: str
) -> None:
    """Else rewards would stand beside rows that they are not of."""
    data = write(tmp_path / "rows.jsonl", NUMBERED)
    real = run_module.finish

    def later(*given: Any) -> Any:
        write(data, change(NUMBERED))
        return real(*given)

    monkeypatch.setattr(run_module, "finish", later)
    with pytest.raises(HarnessError, match=told):
        run_module.score(order(data), print)
    assert not (tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl.partial").is_dir()
    monkeypatch.setattr(run_module, "finish", real)
    write(data, NUMBERED)
    outcome = run_module.score(order(data), print)
    assert outcome is not None and outcome.written == len(NUMBERED)


def test_rows_that_are_added_in_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is scored stays so: the next run scores the new ones."""
    data = write(tmp_path / "rows.jsonl", NUMBERED[:8])
    real = run_module.finish

    def later(*given: Any) -> Any:
        write(data, NUMBERED)
        return real(*given)

    monkeypatch.setattr(run_module, "finish", later)
    with pytest.raises(HarnessError, match="has more rows than when it was scored; run this again"):
        run_module.score(order(data), print)
    monkeypatch.setattr(run_module, "finish", real)
    outcome = run_module.score(order(data), print)
    assert outcome is not None and outcome.written == len(NUMBERED)
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == [row["id"] for row in NUMBERED]


def test_the_best_response_does_not_take_the_place_of_a_row_s_own(tmp_path: Path) -> None:
    row = {"prompt": "?", "responses": ["It is 1", "It is 2"], "response": "the reference"}
    data = write(tmp_path / "rows.jsonl", [row, row])
    best = Filter(best_of=True)
    with pytest.raises(HarnessError, match="line 1 has the column response beside responses"):
        run_module.score(order(data, chosen=best), print)
    run_module.score(order(data, chosen=best, names=Names(response="best")), print)
    (found,) = read(tmp_path / "out.jsonl")
    assert found == {
        "prompt": "?",
        "response": "the reference",
        "best": "It is 2",
        "reward": 2.0,
    }


def test_the_best_of_a_prompt_is_found_among_answers_that_call_tools(tmp_path: Path) -> None:
    """What a tool has answered in between belongs to the answer, unless the prompt has it."""

    def tries(number: int) -> list[dict[str, Any]]:
        call = {"type": "function", "function": {"name": f"f{number}", "arguments": {}}}
        return [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": str(number)},
        ]

    def says(number: int) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": f"It is {number}"}]

    user = [{"role": "user", "content": "?"}]
    polite = [{"role": "system", "content": "Be kind."}, *user]
    rows: list[dict[str, Any]] = [
        {"prompt": "?", "response": [*tries(1), *says(1)]},
        {"prompt": user, "response": [*tries(2), *says(7)]},
        {"messages": [*user, *tries(3), *says(3)]},
        {"prompt": "?", "response": "It is 4"},
        {"prompt": polite, "response": [*tries(1), *says(5)]},
        {"prompt": polite, "response": says(2)},
        {"prompt": [*user, *tries(1)], "response": "It is 0"},
        {"prompt": json.dumps([*user, *tries(2)]), "response": says(0)},
        {"prompt": [*user, *tries(2)], "response": [*tries(1), *says(1)]},
    ]
    made = order(write(tmp_path / "rows.jsonl", rows), chosen=Filter(best_of=True))
    run_module.score(made, print)
    found = [{k: v for k, v in row.items() if k != "reward"} for row in read(made.output)]
    assert found == [rows[1], rows[4], rows[6], rows[8]]
