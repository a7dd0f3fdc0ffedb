"""Several processes give the figures of one, and share the work."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.models.load.processes import warn_of_a_lone_process
from tests import warm
from tests.harness.conftest import preference_rows
from tests.harness.test_command import numbers, results

ROWS = preference_rows("llmbar-natural", 5) + preference_rows("hep-go", 4)
SCORED = 2 * len(ROWS)


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def run(commands: list[list[str]], environments: list[dict[str, str]]) -> str:
    """Run commands side by side; all output, or a failed test that shows it."""
    started = [
        warm.Process(*command, environment=environment)
        for command, environment in zip(commands, environments, strict=True)
    ]
    try:
        shown = ["".join(process.communicate(timeout=600)) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * len(started), "\n".join(shown)
    return "\n".join(shown)


@pytest.fixture
def alone(tasks: Callable[..., Any], write_rows: Callable[..., Path]) -> Callable[..., Any]:
    """The figures of a model in this process."""
    import lm_eval

    folder = write_rows(ROWS)

    def evaluate(model: str, arguments: dict[str, Any]) -> dict[str, float]:
        outcome = lm_eval.simple_evaluate(
            model,
            model_args=arguments,
            batch_size=4,
            device="cpu",
            tasks=["rewardbench"],
            task_manager=tasks(data_dir=folder),
        )
        return numbers(outcome)

    return evaluate


@pytest.fixture
def arguments(tmp_path: Path, write_rows: Callable[..., Path]) -> Callable[..., list[str]]:
    """The rest of the command line after ``lm_eval``."""
    folder = write_rows(ROWS)

    def command(model: str, arguments: dict[str, Any], output: Path) -> list[str]:
        return [
            *("run", "--model", model, "--model_args", json.dumps(arguments), "--device", "cpu"),
            *("--tasks", "rewardbench", "--batch_size", "4", "--output_path", str(output)),
            *("--log_samples", "--metadata", json.dumps({"data_dir": str(folder)})),
        ]

    return command


def check_samples(folder: Path) -> None:
    """Every document once, with both of its responses."""
    (samples,) = folder.glob("*/samples_rewardbench-llmbar-natural_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert sorted(line["doc_id"] for line in lines) == [0, 1, 2, 3, 4]
    assert all(len(line["filtered_resps"]) == 2 for line in lines)


@pytest.mark.slow
def test_accelerate_launch_on_cpu(
    reward_model: Path,
    alone: Callable[..., Any],
    arguments: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    """`accelerate launch --cpu --num_processes 2`: by itself, and as mpirun starts it.

    accelerate 1.15 starts one process of it whatever the number, and says nothing; two come of it
    where something else, mpirun usually, runs the command twice and gives each its rank.
    """
    options = {"pretrained": str(reward_model)}
    expected = alone("reward", options)
    assert len(expected) >= 10
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--main_process_port", free_port(), "-m", "lm_eval"]
    one, two = tmp_path / "one", tmp_path / "two"
    shown = run([[*launch, *arguments("reward", options, one)]], [{}])
    assert "has started one; this starts N: ACCELERATE_USE_CPU=true torchrun" in shown
    assert results(one)["config"]["num_processes"] == 1
    assert numbers(results(one)) == pytest.approx(expected, abs=1e-5)
    ranks = [{"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    ranks = [{**rank, "LOCAL_WORLD_SIZE": "2"} for rank in ranks]
    shown = run([[*launch, *arguments("reward", options, two)]] * 2, ranks)
    assert "has started one" not in shown
    config = results(two)["config"]
    assert (config["num_processes"], config["scored_rows"]) == (2, SCORED)
    assert numbers(results(two)) == pytest.approx(expected, abs=1e-5)
    check_samples(two)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reward-implicit", "reward-ensemble"])
def test_two_processes_by_torchrun(
    kind: str,
    language_model: Path,
    reward_model: Path,
    save_reward_model: Callable[..., Path],
    alone: Callable[..., Any],
    arguments: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    if kind == "reward-implicit":
        options: dict[str, Any] = {"pretrained": str(language_model), "normalize": "mean"}
    else:
        folders = [str(reward_model), str(save_reward_model(seed=7))]
        options = {"pretrained": folders, "combine": "rank-mean"}
    expected = alone(kind, options)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    command = [*torchrun, "-m", "harness", *arguments(kind, options, tmp_path)]
    run([command], [{"ACCELERATE_USE_CPU": "true"}])
    outcome = results(tmp_path)
    for config in outcome["config"].get("members", [outcome["config"]]):
        assert (config["num_processes"], config["scored_rows"]) == (2, SCORED)
    assert numbers(outcome) == pytest.approx(expected, abs=1e-5)
    check_samples(tmp_path)


@pytest.mark.parametrize(
    ("count", "environment", "told"),
    [
        (1, {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, True),
        (2, {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, False),
        (1, {"ACCELERATE_USE_CPU": "True"}, False),
        (1, {"MASTER_ADDR": "127.0.0.1"}, False),
    ],
)
def test_a_lone_process_is_told(
    count: int, environment: dict[str, str], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_a_lone_process(count, environment)
    assert ("has started one" in caplog.text) == told
