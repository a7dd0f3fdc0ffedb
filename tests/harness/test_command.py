"""The real command, in processes of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.harness.conftest import preference_rows

ROWS = (
    preference_rows("llmbar-natural", 7)
    + preference_rows("hep-go", 5)
    + preference_rows("math-prm", 4)
)


def launch(start: list[str], arguments: list[str], **environment: str) -> str:
    """Run a command; its output and messages, or a failed test that shows them."""
    done = warm.run(*start, "run", *arguments, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_lm_eval(arguments: list[str], **environment: str) -> str:
    """`lm_eval run`; its output and messages, or a failed test that shows them."""
    done = warm.run("lm_eval", "run", *arguments, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def results(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*/results_*.json")
    return dict(json.loads(file.read_text()))


def numbers(outcome: dict[str, Any]) -> dict[str, float]:
    return {
        f"{name} {key}": value
        for name, metrics in outcome["results"].items()
        for key, value in metrics.items()
        if isinstance(value, float)
    }


@pytest.fixture
def arguments(reward_model: Path, write_rows: Callable[..., Path]) -> list[str]:
    folder = write_rows(ROWS)
    return [
        *("--model", "reward", "--model_args", f"pretrained={reward_model}", "--device", "cpu"),
        *("--tasks", "rewardbench_*", "--batch_size", "4", "--log_samples"),
        *("--metadata", json.dumps({"data_dir": str(folder)})),
    ]


@pytest.mark.slow
def test_one_process_and_two_give_the_same_figures(arguments: list[str], tmp_path: Path) -> None:
    """lm-eval with a cache, the same again from the cache, and two processes by accelerate.

    ``accelerate launch --cpu --num_processes 2`` starts a single process (accelerate 1.15); two
    are started by its multi-process launcher with the accelerator told to stay on the CPU.
    """
    alone, again, two = (tmp_path / name for name in ("alone", "again", "two"))
    cache = ["--use_cache", str(tmp_path / "cache")]
    shown = run_lm_eval([*arguments, *cache, "--output_path", str(alone)])
    assert "rewardbench_reasoning (partial: 2 of 7 subsets)" in shown
    shown = run_lm_eval([*arguments, *cache, "--output_path", str(again)])
    assert "Cached requests: 32, Requests remaining: 0" in shown
    starter = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--main_process_port"]
    launch(
        [*starter, "0", "--multi_gpu", "-m", "harness"],
        [*arguments, "--output_path", str(two)],
        ACCELERATE_USE_CPU="true",
    )
    expected = results(alone)
    assert expected["config"]["scored_rows"] == 32 and len(numbers(expected)) >= 15
    assert numbers(results(again)) == numbers(expected)
    assert results(two)["config"]["scored_rows"] == 32
    assert numbers(results(two)) == pytest.approx(numbers(expected), abs=1e-5)
    for folder in (alone, two):
        (samples,) = folder.glob("*/samples_rewardbench-hep-go_*.jsonl")
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        assert sorted(line["doc_id"] for line in lines) == [0, 1, 2, 3, 4]
        assert all(len(line["filtered_resps"]) == 2 for line in lines)
