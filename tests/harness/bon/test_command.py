"""`dogerm bon`, and the whole way from a policy's run to the picture with the real commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.cli import main
from tests.harness.bon.conftest import sample
from tests.harness.test_command import run_lm_eval

Write = Callable[..., Path]


def dogerm(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["bon", *(str(argument) for argument in arguments)])


def test_collect_joins_tasks_into_one_file(write_samples: Write, tmp_path: Path) -> None:
    paths = [
        write_samples([sample(0, [f"{task} {run}"], score)], task, run)
        for task, run, score in (("sums", 1, 1), ("words", 1, 0), ("sums", 2, 0), ("words", 2, 0))
    ]
    output = tmp_path / "bon.jsonl"
    done = dogerm("collect", *paths, "-o", output)
    assert done.exit_code == 0, done.output
    assert "sums, exact_match (none): 1 questions with 2 candidates (2 distinct" in done.output
    assert "words, exact_match (none): 1 questions" in done.output
    assert f"{output}: 2 rows" in done.output
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [(row["subset"], row["labels"]) for row in rows] == [("sums", [1, 0]), ("words", [0, 0])]


def test_a_mistake_is_one_line_and_the_old_file_stays(write_samples: Write, tmp_path: Path) -> None:
    output = tmp_path / "bon.jsonl"
    output.write_text("before")
    path = write_samples([sample(0, ["a"], 0.5)], run=1)
    other = write_samples([sample(0, ["b"], 1)], run=2)
    for arguments, message in (
        ([path, other, "-o", output], "exact_match is 0.5"),
        ([path, other, "-o", tmp_path / "bon.csv"], "must end with .jsonl"),
        ([path, other, "-o", path], "also one of the inputs"),
        ([path, other, "-o", tmp_path / "no" / "bon.jsonl", "--metric", "acc"], "no metric acc"),
        ([other, path, "-o", output, "--filter", "x"], "no filter x"),
    ):
        done = dogerm("collect", *arguments)
        assert done.exit_code == 1 and message in done.output
        (line,) = done.output.splitlines()
        assert line.startswith("Error: ")
    assert output.read_text() == "before"
    done = dogerm("plot", tmp_path, "-o", tmp_path / "bon.png")
    assert done.exit_code == 1 and "no results of best-of-N" in done.output


def test_the_outputs_folder_is_made_before_anything_is_read(
    write_samples: Write, tmp_path: Path
) -> None:
    """So that minutes of scoring do not end in a missing folder."""
    paths = [write_samples([sample(0, [f"{run}"], run)], run=run) for run in (0, 1)]
    output = tmp_path / "new" / "deeper" / "bon.jsonl"
    done = dogerm("collect", *paths, "-o", output)
    assert done.exit_code == 0, done.output
    assert [path.name for path in output.parent.iterdir()] == ["bon.jsonl"]
    damaged = write_samples([], run=2)
    for command, name in (("collect", "bon.jsonl"), ("plot", "bon.png")):
        done = dogerm(command, damaged, "-o", output / name)
        assert done.exit_code == 1
        assert done.output == (
            f"Error: {output / name} can't be written (File exists); make room, or name another "
            "place\n"
        )


def test_a_task_without_generation_is_the_first_thing_told(
    write_samples: Write, tmp_path: Path
) -> None:
    """No choice of its metrics or filters would help."""
    line = sample(0, ["a"], 1, metrics=["accuracy", "margin"], accuracy=1, margin=0.5) | {
        "resps": [[["1.5", "False"]], [["1.0", "False"]]]
    }
    path = write_samples([line, line | {"filter": "other"}], "minipref-math")
    done = dogerm("collect", path, "-o", tmp_path / "bon.jsonl")
    assert done.exit_code == 1 and "only generation tasks" in done.output
    assert "choose with" not in done.output


def test_plot_checks_the_pictures_ending_first(write_samples: Write, tmp_path: Path) -> None:
    """Before the folder is made, and before the results, which are none, are read."""
    for name in ("bon.txt", "bon", "bon.pgf"):
        done = dogerm("plot", tmp_path, "-o", tmp_path / "new" / name)
        assert done.exit_code == 1 and "must end with a format of pictures" in done.output
        assert ".png, .pdf or .svg" in done.output and len(done.output.splitlines()) == 1
    assert not (tmp_path / "new").exists()
    path = write_samples([sample(0, ["a"], 1), sample(1, ["b"], 1)])
    done = dogerm("plot", f"model={path}", "-o", tmp_path / "new" / "bon.png")
    assert done.output == (
        f"Error: {path}: give results_*.json or the folder of --output_path, not samples\n"
    )


QUESTIONS = {f"What is {number} + 1?": number + 1 for number in range(1, 7)}


@pytest.mark.slow
def test_from_a_policy_to_the_picture(
    write_gsm8k: Write, language_model: Path, reward_model: Path, tmp_path: Path
) -> None:
    """lm_eval samples, collect labels with gsm8k's own filter, lm_eval chooses, plot draws."""
    gsm8k = write_gsm8k(QUESTIONS, repeats=4)
    run_lm_eval(
        [
            *("--model", "hf", "--model_args", f"pretrained={language_model}", "--device", "cpu"),
            *("--tasks", "gsm8k_few", "--include_path", str(gsm8k), "--batch_size", "8"),
            *("--gen_kwargs", "do_sample=true,temperature=1.0,max_gen_toks=24"),
            *("--log_samples", "--output_path", str(tmp_path / "policy")),
        ],
    )
    (samples,) = tmp_path.glob("policy/*/samples_gsm8k_few_*.jsonl")
    data = tmp_path / "data"
    output = data / "bon_gsm8k.jsonl"
    done = dogerm("collect", samples, "-o", output, "--include-path", gsm8k)
    assert done.exit_code == 1 and "--filter: strict-match, flexible-extract" in done.output
    choice = ("--filter", "flexible-extract", "--include-path", gsm8k)
    done = dogerm("collect", samples, "-o", output, *choice)
    assert done.exit_code == 0, done.output
    assert "6 questions with 4 candidates" in done.output
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["prompt"] for row in rows] == list(QUESTIONS)
    for row in rows:
        # what gsm8k's filter and metric do, once more by hand
        for response, label, answer in zip(
            row["responses"], row["labels"], row["answers"], strict=True
        ):
            numbers = [a or b for a, b in re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", response)]
            assert answer == (numbers[-1].strip() if numbers else None)
            plain = re.sub(r"[,$]|\.$", "", (answer or "[invalid]").lower())
            assert label == int(plain == str(QUESTIONS[row["prompt"]]))
    labels = [label for row in rows for label in row["labels"]]
    assert 0 < sum(labels) < len(labels)

    run_lm_eval(
        [
            *("--model", "reward", "--model_args", f"pretrained={reward_model}", "--device", "cpu"),
            *("--tasks", "bon_gsm8k", "--batch_size", "8", "--output_path", str(tmp_path / "out")),
        ],
        DOGERM_DATA_DIR=str(data),
    )
    done = dogerm("plot", tmp_path / "out", "-o", tmp_path / "bon.png")
    assert done.exit_code == 0, done.output
    assert "bon_gsm8k (6 questions)" in done.output and "N=4" in done.output
    means = re.search(r"random +([\d.]+)", done.output)
    assert means is not None and float(means[1]) == pytest.approx(sum(labels) / 24, abs=1e-3)
    assert (tmp_path / "bon.png").stat().st_size > 10_000


@pytest.mark.slow
def test_lm_evals_own_program_tasks_are_not_scored_again(
    write_samples: Write, tmp_path: Path
) -> None:
    """With all of lm-eval's tasks at hand; the message has the way out."""
    path = write_samples([sample(0, ["a", "b"], 0)], "humaneval_64")
    done = dogerm("collect", path, "-o", tmp_path / "bon.jsonl")
    assert done.exit_code == 1
    assert "task humaneval_64 executes generated programs" in done.output
    assert "run lm_eval once per candidate with repeats 1" in done.output
