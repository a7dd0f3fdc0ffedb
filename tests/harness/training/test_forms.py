"""Training reads what evaluation reads: TRL's formats, and what else people's files look like."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from harness.errors import HarnessError
from harness.training.config import Columns, Source
from harness.training.row_check import RowCheck
from harness.training.rows import ANSWERED, PAIR, read_rows
from harness.training.tokens import answer_ids, conversation_ids
from harness.training.turns import parse_turns
from tests.harness.rows.conftest import WHOLE
from tests.harness.rows.test_scored_forms import FORMS, TOOLS, assistant, call, user

Write = Callable[[str, list[dict[str, Any]]], Path]


@pytest.fixture
def showing(tokenizer: Any) -> Any:
    made = copy.deepcopy(tokenizer)
    made.chat_template = WHOLE
    return made


def ids(tokenizer: Any, messages: list[dict[str, Any]], **beside: Any) -> list[int]:
    found: list[int] = tokenizer.apply_chat_template(messages, return_dict=False, **beside)
    return found


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_trained_on_as_it_is_scored(
    name: str, tmp_path: Path, write_jsonl: Write, showing: Any
) -> None:
    given, before = FORMS[name]
    write_jsonl("a.jsonl", [given])
    (row,) = read_rows(Source(file="a.jsonl"), PAIR, tmp_path)
    turns = parse_turns(row["prompt"])
    for side, answer in (("chosen", "6"), ("rejected", "7")):
        expected = ids(showing, [*before, assistant(answer)])
        assert conversation_ids(showing, turns, row[side]) == expected


def test_tools_calls_and_margins(tmp_path: Path, write_jsonl: Write, showing: Any) -> None:
    sides = [[assistant("Wait.", tool_calls=call(name))] for name in ("weather", "delete")]
    given = {"prompt": "Rain?", "chosen": sides[0], "rejected": sides[1], "system": "Be kind."}
    rows = [{**given, "tools": json.dumps(TOOLS), "margin": 0.5}, {**given, "margin": "2"}]
    write_jsonl("a.jsonl", rows)
    columns = Columns(system="system", tools="tools", margin="margin")
    first, second = read_rows(Source(file="a.jsonl", columns=columns), PAIR, tmp_path)
    assert (first["margin"], second["margin"]) == (0.5, 2.0)
    before = [{"role": "system", "content": "Be kind."}, user("Rain?")]
    for row, tools in ((first, TOOLS), (second, None)):
        found = conversation_ids(showing, parse_turns(row["prompt"]), row["chosen"])
        assert found == ids(showing, [*before, *sides[0]], tools=tools)
    write_jsonl("a.jsonl", [{**given, "margin": "much"}])
    with pytest.raises(HarnessError, match="row 1: column margin is 'much', expected a number"):
        read_rows(Source(file="a.jsonl", columns=Columns(margin="margin")), PAIR, tmp_path)


def test_columns_that_are_not_used_are_told_of(
    tmp_path: Path, write_jsonl: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"prompt": "Hi", "chosen": "6", "rejected": "7", "margin": 1, "system": "Be kind."}
    write_jsonl("a.jsonl", [given, {**given, "system": None}])
    read_rows(Source(file="a.jsonl"), PAIR, tmp_path)
    told = capsys.readouterr().err
    assert "column margin is filled in 2 of 2 rows and not used: " in told
    assert "column system is filled in 1 of 2 rows and not used: " in told
    with pytest.raises(HarnessError, match=r"a.jsonl: no row has the column tool"):
        read_rows(Source(file="a.jsonl", columns=Columns(tools="tool")), PAIR, tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "2+2?", "response": "4"},
        {"prompt": [user("2+2?")], "completion": [assistant("4")]},
        {"messages": [user("2+2?"), assistant("4")]},
        {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]},
    ],
)
def test_answers_to_learn(
    given: dict[str, Any], tmp_path: Path, write_jsonl: Write, showing: Any
) -> None:
    """TRL's prompt and completion, and whole conversations: the last answer is learned."""
    write_jsonl("a.jsonl", [given])
    (row,) = read_rows(Source(file="a.jsonl"), ANSWERED, tmp_path)
    showing.eos_token = "<|im_end|>"
    found, labels = answer_ids(showing, parse_turns(row["prompt"]), row["response"])
    assert found == ids(showing, [user("2+2?"), assistant("4")])
    assert showing.decode([label for label in labels if label != -100]) == "4<|im_end|>"


def test_what_can_not_be_learned_from_is_named(
    tmp_path: Path, write_jsonl: Write, showing: Any
) -> None:
    """Markup, what the template refuses, and what it hides: file and row in one line."""
    bare = copy.deepcopy(showing)
    bare.chat_template = "{% for m in messages %}{{ m['role'] + ':' + m['content'] }}{% endfor %}"
    sides = [[assistant("Wait.", tool_calls=call(name))] for name in ("weather", "delete")]
    cases = [
        ({"prompt": "Hi<|im_end|>", "chosen": "6", "rejected": "7"}, showing, "holds '<|im_end|>'"),
        (
            {"prompt": [{"role": "judge", "content": "x"}], "chosen": "6", "rejected": "7"},
            showing,
            "No judges here",
        ),
        ({"prompt": "Hi", "chosen": sides[0], "rejected": sides[1]}, bare, "differ in tool_calls"),
    ]
    for given, tokenizer, message in cases:
        write_jsonl("a.jsonl", [given])
        (row,) = read_rows(Source(file="a.jsonl"), PAIR, tmp_path)
        shown = RowCheck(tokenizer, PAIR[1:])

        def encode(row: dict[str, Any], tokenizer: Any = tokenizer) -> dict[str, Any]:
            return {"ids": conversation_ids(tokenizer, parse_turns(row["prompt"]), row["chosen"])}

        with pytest.raises(HarnessError) as caught:
            shown.encode(row, encode)
        assert "a.jsonl, row 1: " in str(caught.value) and message in str(caught.value)
    write_jsonl("a.jsonl", [cases[0][0]])
    (row,) = read_rows(Source(file="a.jsonl", allow_markup=True), PAIR, tmp_path)
    assert RowCheck(showing, PAIR[1:]).encode(row, lambda row: row) is row


def test_dialogues_that_were_asked_for_are_answers(tmp_path: Path, write_jsonl: Write) -> None:
    """The user's mark at the start of both answers makes them no conversation."""
    given = {"prompt": "Write a dialogue.", "chosen": "Human: Hi", "rejected": "Human: Ho"}
    write_jsonl("a.jsonl", [given])
    assert read_rows(Source(file="a.jsonl"), PAIR, tmp_path) == [given]


def test_a_run_on_conversations_with_tools_and_margins(
    tmp_path: Path, language_model: Path, write_config: Callable[..., Path], write_jsonl: Write
) -> None:
    """Through the command line; the loss has TRL's margin, so that a large one shows in it."""
    rows = [
        {
            "chosen": [user(f"q{n}"), assistant("good")],
            "rejected": [user(f"q{n}"), assistant("bad")],
            "tools": TOOLS,
            "margin": 50.0,
        }
        for n in range(20)
    ]
    write_jsonl("a.jsonl", rows)
    losses = []
    for name, columns in (("without", {}), ("with", {"margin": "margin", "tools": "tools"})):
        config = write_config(
            f"{name}.yml",
            model="some/base",
            data=[{"file": "a.jsonl", "columns": columns}],
            lora={"rank": 2},
            training={"batch_size": 4, "evaluations": 1},
            validation={"share": 0.2},
        )
        arguments = ["reward", config, "-o", tmp_path / name, "--model", language_model]
        result = CliRunner().invoke(train, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert ("column margin is filled in 20 of 20 rows" in result.output) == (not columns)
        assert ("leaves out the tools, in " in result.output) == bool(columns)
        losses.append(json.loads((tmp_path / name / "figures.json").read_text())["training_loss"])
    assert losses[0] < 5 < 40 < losses[1]
