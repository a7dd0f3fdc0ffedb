"""What `dogerm check` says of files, and whether its word agrees with the task's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from harness.commands.check import check
from tests.harness.rows.conftest import own_set, whole_model  # noqa: F401  # fixtures
from tests.harness.rows.test_scored_forms import FORMS, REFUSED, assistant, call, user


class Said(NamedTuple):
    """What the command printed, and its exit status."""

    text: str
    status: int


def run(*arguments: Any) -> Said:
    result = CliRunner().invoke(check, [str(a) for a in arguments], catch_exceptions=False)
    # Wrapped lines, as a reader takes them.
    return Said(" ".join(result.output.split()), result.exit_code)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def rows(*given: Any, name: str = "mine.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in given), "utf-8")
        return path

    return rows


PLAIN = {"prompt": "2+2?", "chosen": "It is 4.", "rejected": "5"}


def test_a_plain_file(write: Callable[..., Path]) -> None:
    path = write(PLAIN, {**PLAIN, "rejected": "It is five.", "topic": "sums"})
    said = run(path)
    assert said.status == 0
    for part in (
        f"{path}: 2 rows, 4 columns",
        "fit 2 of 2",
        "prompt text answers text",
        "the longer answer is chosen in 50% of 2 pairs",
        "topic not used, filled in 1 of 2 rows",
        "task: mine class: !function harness.own_data.OwnPreferences",
        "A task takes this file.",
    ):
        assert part in said.text


def test_other_names_end_in_the_yaml_that_works(write: Callable[..., Path], tmp_path: Path) -> None:
    """The YAML that is printed is one that lm-eval loads."""
    from lm_eval.tasks import TaskManager

    rows = [
        {"question": f"{n}?", "good": "yes", "bad": "no", "category": f"c {n % 2}", "tools": None}
        for n in range(8)
    ]
    result = CliRunner().invoke(check, [str(write(*rows))])
    assert result.exit_code == 0
    assert "# column category has 2 values: `section: category`" in result.output
    start = result.output.index("  task: ")
    yaml = result.output[start:].partition("  #")[0]
    (tmp_path / "mine.yaml").write_text("".join(line[2:] + "\n" for line in yaml.splitlines()))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    assert len(manager.load(["mine"])["tasks"]["mine"].eval_docs) == 8
    assert run(tmp_path / "mine.yaml").status == 0  # a task's YAML can be checked, too


def test_rows_that_do_not_fit_are_counted_by_reason(write: Callable[..., Path]) -> None:
    bad = [{**PLAIN, "chosen": n} for n in range(7)]
    said = run(write(PLAIN, *bad, {"prompt": "x", "rejected": "y"}))
    assert said.status == 1
    assert "fit 1 of 9" in said.text
    assert "7 rows column chosen is int '0', expected a text" in said.text
    assert "(lines 2, 3, 4, 5, 6 and 2 more)" in said.text
    assert "1 row no column chosen (there are: prompt, rejected)" in said.text
    assert "A task would not take this file: 8 rows do not fit" in said.text


def test_ties_empty_answers_and_columns_that_mean_something(write: Callable[..., Path]) -> None:
    rows = [PLAIN, {**PLAIN, "rejected": "It is 4."}, {**PLAIN, "chosen": " ", "images": ["a"]}]
    said = run(write(*[{**row, "system": "Be kind."} for row in rows]))
    assert said.status == 0
    assert "1 row with the same answer twice, a tie that counts as wrong (line 2)" in said.text
    assert "1 row with an empty answer, which is scored as it is (line 3)" in said.text
    assert "system NOT USED: to give it to the model write columns: {system: system}" in said.text
    assert "images NOT USED, filled in 1 of 3 rows: these models read text alone" in said.text


def test_the_first_row_as_the_model_sees_it(
    write: Callable[..., Path],
    whole_model: Path,  # noqa: F811
) -> None:
    calls = [[assistant("Wait.", tool_calls=call(name))] for name in ("weather", "delete")]
    row = {"prompt": [user("Rain?", id=3)], "chosen": calls[0], "rejected": calls[1]}
    long = {**PLAIN, "prompt": "word " * 600}
    said = run(write(row, long, PLAIN), "--model", whole_model)
    assert said.status == 0
    assert '| <|im_start|>user | Rain?<|im_end|> | <|im_start|>assistant | Wait.{"name": "w' in (
        said.text
    )
    assert "2 of 6 conversations have more than the model's 512 tokens" in said.text
    assert "keys" in said.text and "tool_calls" in said.text


def test_what_the_model_would_be_denied(
    write: Callable[..., Path],
    whole_model: Path,  # noqa: F811
) -> None:
    template = (
        "{% for m in messages %}{% if m['role'] == 'judge' %}{{ raise_exception('No judges') }}"
        "{% endif %}<|im_start|>{{ m['role'] + m['content'] }}{% endfor %}"
    )
    calls = [[assistant("Wait.", tool_calls=call(name))] for name in ("weather", "delete")]
    rows = [
        {**PLAIN, "prompt": [user("Hi", name="Ada")]},
        {"prompt": "Rain?", "chosen": calls[0], "rejected": calls[1]},
        {**PLAIN, "prompt": "<|im_start|>user"},
        {**PLAIN, "prompt": [{"role": "judge", "content": "x"}]},
    ]
    said = run(write(*rows), "--model", whole_model, "--chat-template", template)
    assert said.status == 1
    assert "they differ in tool_calls, and the template renders both answers to the" in said.text
    assert "the user's text holds '<|im_start|>' in 1 row (line 3)" in said.text
    assert "No judges" in said.text and "(line 4)" in said.text
    assert "left out the key name of user messages, in 2 conversations" in said.text
    assert "3 rows do not fit" in said.text


@pytest.mark.parametrize("name", FORMS)
def test_what_a_task_takes(name: str, write: Callable[..., Path], whole_model: Path) -> None:  # noqa: F811
    assert run(write(FORMS[name][0]), "--model", whole_model).status == 0


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_task_refuses(name: str, write: Callable[..., Path], whole_model: Path) -> None:  # noqa: F811
    row, columns, _ = REFUSED[name]
    options = ["--columns", columns.removeprefix("columns: ")] if columns else []
    said = run(write(row), "--model", whole_model, *options)
    assert said.status == 1 and "would not take this file" in said.text


def test_a_damaged_file_tells_how_far_it_could_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text(json.dumps(PLAIN) + "\n{")
    said = run(path)
    assert said.status == 1
    assert "fit 1 of 1" in said.text and "Reading stopped" in said.text
    assert "cut.jsonl, line 2 is not JSON" in said.text
    assert "it can't be read to its end; see above" in said.text


def test_answers_to_learn_are_checked_for_training(write: Callable[..., Path]) -> None:
    alpaca = {"instruction": "Say it.", "input": "hello", "output": "Hello!"}
    said = run(write(alpaca))
    assert "input NOT USED: Alpaca's input belongs to the instruction" in said.text
    assert "columns: {prompt: instruction, response: output}}" in said.text
    said = run(write({"prompt": "Hi", "response": "Hello"}))
    assert said.status == 0 and "mine.jsonl} `dogerm train sft`" in said.text
    assert "`dogerm train sft` takes this file: one answer a row, in response." in said.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jsonl"], "none.jsonl: No such file"),
        (["notes.txt"], "notes.txt is no .jsonl, .json, .parquet, .csv file"),
        (["empty.jsonl"], "empty.jsonl holds no rows"),
        (["other.jsonl"], "no columns chosen and rejected (there are: a, b); name them"),
        (["mine.jsonl", "--columns", "{promt: a}"], "columns has the unknown key 'promt' (did you"),
        (["mine.jsonl", "--model", "nowhere"], "--model nowhere: there is no such folder"),
        (["mine.jsonl", "--chat-template", "x"], "--chat-template is a model's"),
        (["bad.yaml"], "bad.yaml has no dataset_path"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(PLAIN)
    write({"a": 1, "b": 2}, name="other.jsonl")
    for name, text in (("notes.txt", "x"), ("empty.jsonl", "\n"), ("bad.yaml", "task: x")):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    said = run(*arguments)
    assert said.status == 1 and f"Error: {message}" in said.text
