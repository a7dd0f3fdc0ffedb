# SPDX-License-Identifier: Apache-2.0
"""Several processes: the same training as one with the same batch."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.harness.training.conftest import pairs

Write = Callable[[str, list[dict[str, Any]]], Path]
TWO = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]


def run(
    *arguments: str | Path, launcher: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [*(launcher or []), "-m", "harness", "train", *map(str, arguments)]
    return warm.run(*command, environment={"ACCELERATE_USE_CPU": "true"})


@pytest.fixture
def config(
    write_config: Callable[..., Path], write_jsonl: Write, language_model: Path
) -> Callable[..., Path]:
    write_jsonl("rows.jsonl", pairs(60))

    def write(kind: str, **training: Any) -> Path:
        source: dict[str, Any] = {"file": "rows.jsonl", "rows": 32}
        if kind == "sft":
            source["columns"] = {"response": "chosen"}
        settings = {"batch_size": 8, "learning_rate": 1e-2, "evaluations": 2, "epochs": 2}
        return write_config(
            f"{kind}.yml",
            model=str(language_model),
            data=[source],
            lora={"rank": 2},
            training={**settings, **training},
            validation={"share": 0.2, "rows": 8},
        )

    return write


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reward", "sft", "hybrid"])
def test_two_processes_train_as_one(config: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    """Loss by loss, to the accuracy of float32, and one folder in the end."""
    from safetensors.torch import load_file

    settings = config(kind, dtype="float32")
    for name, launcher in (("one", None), ("two", TWO)):
        done = run(kind, settings, "-o", tmp_path / name, launcher=launcher)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("adapter_model.safetensors") == 1
    one, two = (
        json.loads((tmp_path / name / "figures.json").read_text()) for name in ("one", "two")
    )
    assert len(one["curves"]["training loss"]) == 8
    # transformers' validation loss of a language model is a mean over batches, whose sizes differ
    names = ["training loss"] if kind == "sft" else list(one["curves"])
    for curve in names:
        points = one["curves"][curve]
        assert two["curves"][curve] == [pytest.approx(point, abs=1e-4) for point in points], curve
    tensors = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two")]
    for name, tensor in tensors[0].items():
        assert (tensors[1][name].float() - tensor.float()).abs().max() < 1e-2, name
    if kind == "reward":  # all processes know that it is finished: none waits for the others
        again = run(kind, settings, "-o", tmp_path / "two", launcher=TWO)
        assert again.returncode == 0, again.stderr
        assert again.stderr.count("two: finished already") == 1
        assert again.stdout.count("adapter_model.safetensors") == 1


@pytest.mark.slow
def test_a_batch_that_can_not_be_shared(config: Callable[..., Path], tmp_path: Path) -> None:
    done = run("reward", config("reward", batch_size=7), "-o", tmp_path / "out", launcher=TWO)
    assert done.returncode != 0
    assert "`batch_size` is 7, the rows of all processes together" in done.stderr
    assert not (tmp_path / "out").exists()
