"""The command line of `dogerm sweep`: every mistake is one line, and costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.harness.study.sweeping import Workshop, pairs


@pytest.fixture
def workshop(tmp_path: Path, reward_model: Path, language_model: Path) -> Workshop:
    return Workshop(tmp_path, [reward_model, language_model])


def error_of(result: Result, status: int = 1) -> str:
    """The one line of a mistake."""
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line.removeprefix("Error: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weight", "0:1:0.3"), "--weight 0:1:0.3: steps of 0.3 from 0 end at 0.9, not at 1"),
        (("--weight", "0.1", "--weight", "0.2"), "--weight is given 2 times, and the recipe has 1"),
        (("--path", "1,1"), "has one domain model, so there is no path"),
        (("--metadata", "{"), "--metadata {: not JSON"),
        (("--metadata", "[]"), "--metadata []: expected an object"),
        (("--metadata", '{"data_dirs": "x"}', "--report", "minipref"), "did you mean 'data_dir'?"),
        (("--model_args", "pretrained=x"), "--model_args pretrained=: the recipe says which model"),
        (("--model_args", "tokenizer=x"), "--model_args tokenizer=: the recipe says"),
        (("--model_args", "revision=x"), "--model_args revision=: write it in the recipe"),
        (("--model_args", "dtype"), "--model_args dtype: expected NAME=VALUE"),
        (("--model_args", "peft=x"), "--model_args peft=: merged weights are written"),
        (("--model_args", "load_in_4bit=True"), "it can't have load_in_4bit"),
        (("--model_args", "dtype=flot32"), "dtype=flot32 is no dtype of torch"),
        (("--model_args", "chat_tmplate=x"), "chat_tmplate"),
        (("--batch_size", "0"), "--batch_size 0: expected auto or a number of rows"),
        (("--batch_size", "²"), "--batch_size ²: expected auto or a number of rows"),
        (("--select", ","), "--select names no task"),
        (("--select", "minpref"), "no task 'minpref' among this project's; did you mean minipref"),
        (("--report", "nowhere.yaml"), "nowhere.yaml: no such file"),
        (("--report", " "), "nothing to prove the choice on: name other tasks with --report"),
        (
            ("--metric", "acc"),
            "chosen has no metric 'acc' (it has: accuracy, longer, margin, ties)",
        ),
        (("--split-select", "0.01"), "--split-select 0.01 leaves none of the 12 rows of chosen"),
    ],
)
def test_a_mistake_is_one_line(workshop: Workshop, options: tuple[str, ...], message: str) -> None:
    assert message in error_of(workshop.sweep(*options))
    assert not workshop.measured()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split-select", "1"), "1.0 is not in the range 0<x<1"),
        (("--rule", "worst"), "'worst' is not one of 'best', 'one-standard-error'"),
        (("--weigth", "1"), "No such option"),
        (("-o", "chosen.jsonl"), "'chosen.jsonl' is a file"),
        (("--include-path", "nowhere"), "'nowhere' does not exist"),
    ],
)
def test_a_wrong_option_is_a_usage_error(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(workshop.folder)
    assert message in error_of(workshop.sweep(*options), status=2)


def test_a_recipe_that_is_none_of_ours(workshop: Workshop) -> None:
    workshop.write_recipe(merge_method="linear")
    error = error_of(workshop.sweep())
    assert "merge_method is linear, expected reward_preserving_" in error
    assert "reward_preserving_linear" in error
    workshop.write_recipe(slices=[{"sources": []}])
    assert "has slices" in error_of(workshop.sweep())
    workshop.models = [workshop.models[0], Path("/nowhere/lm")]
    workshop.write_recipe()
    assert "/nowhere/lm" in error_of(workshop.sweep())
    (workshop.folder / "recipe.yml").unlink()
    assert "does not exist" in error_of(workshop.sweep(), status=2)
    assert not workshop.out.exists()


def test_a_folder_of_other_things_is_left_alone(workshop: Workshop) -> None:
    workshop.out.mkdir()
    (workshop.out / "thesis.tex").touch()
    assert "holds other things than results of this command (thesis.tex)" in error_of(
        workshop.sweep()
    )
    assert [path.name for path in workshop.out.iterdir()] == ["thesis.tex"]


def test_an_error_leaves_an_earlier_sweep_as_it_was(workshop: Workshop) -> None:
    workshop.swept()
    before = {path: path.stat().st_mtime_ns for path in workshop.out.rglob("*") if path.is_file()}
    error_of(workshop.sweep("--weight", "2"))
    error_of(workshop.sweep("--metric", "acc"))
    error_of(workshop.sweep("--model_args", "revision=2"))
    error_of(workshop.sweep("--report", str(workshop.folder / "chosen.yaml")))
    after = {path: path.stat().st_mtime_ns for path in workshop.out.rglob("*") if path.is_file()}
    assert after == before


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from harness.commands.sweep import sweep\n"
        "try: sweep(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'transformers', 'matplotlib'} & {*sys.modules}))"
    )
    environment = {**os.environ, "DOGERM_AUTOLOAD": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--split-select" in done.stdout


def test_it_is_a_command_of_dogerm() -> None:
    from harness.commands.cli import main

    result = CliRunner().invoke(main, ["--help"])
    assert "sweep" in result.output


def test_progress_and_result_are_apart(workshop: Workshop) -> None:
    """The table alone goes to standard output; the progress says what is done and what is left."""
    workshop.write_task("chosen", pairs("chosen", 12))
    result = workshop.sweep()
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    points = [line for line in lines if "accuracy" in line]
    assert points[0].startswith("1/3  λ = 0  chosen  accuracy 0.")
    assert "left)" in points[0]
    assert "left" not in points[2]
    assert any(line.startswith("chosen: λ = ") for line in lines)
    assert result.stdout.startswith("Selection, 12 rows of chosen:")
    assert "λ = " in result.stdout
    written = result.stdout.splitlines()[-1]
    assert written.startswith("Written: ")
    for name in ("sweep.json", "best.yml", "lambda.png", "margins.png"):
        assert str(workshop.out / name) in written
