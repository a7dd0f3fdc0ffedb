# SPDX-License-Identifier: Apache-2.0
"""Smoothed labels, and labels that move to what the model says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.commands.train import train
from harness.training.soft_labels import FILE, SoftLabels
from tests.harness.training.conftest import pairs

Write = Callable[[str, list[dict[str, Any]]], Path]
PAIRS = ["rows.jsonl, row 3", "rows.jsonl, row 8"]
SMALL = {"batch_size": 4, "learning_rate": 1e-2, "evaluations": 1, "checkpoints": 6}


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, ["reward", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def config(
    write_config: Callable[..., Path], write_jsonl: Write, language_model: Path
) -> Callable[..., Path]:
    write_jsonl("rows.jsonl", pairs(24))

    def write(name: str, epochs: int = 3, **labels: float) -> Path:
        return write_config(
            name,
            model=str(language_model),
            data=[{"file": "rows.jsonl"}],
            lora={"rank": 2},
            labels=labels,
            training={**SMALL, "epochs": epochs},
            validation={"share": 0.2},
        )

    return write


def soft_loss(label: float, apart: float) -> float:
    return -label * math.log(1 / (1 + math.exp(-apart))) - (1 - label) * math.log(
        1 / (1 + math.exp(apart))
    )


def test_the_loss_is_the_cross_entropy_of_the_labels(
    config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch with its margins: value, and gradient sigmoid(d) - y."""
    import torch

    from harness.training import run as runner
    from harness.training.read_config import read_config
    from harness.training.reward import RewardTraining

    found = []

    def look(trainer: Any, _: Any) -> float:
        trainer.now = torch.tensor([0.9, 0.2, 0.5] + [1.0] * 30)
        collated = trainer.data_collator([trainer.train_dataset[i] for i in range(3)])
        collated["margin"] = torch.tensor([0.0, 0.3, 0.0])
        trainer.model.train()
        loss, outputs = trainer.compute_loss(trainer.model, collated, return_outputs=True)
        logits = outputs.logits[:, 0]
        (gradient,) = torch.autograd.grad(loss, outputs.logits)
        found.append((float(loss), logits.tolist(), gradient[:3, 0].tolist()))
        trainer.train()
        return 0.0

    monkeypatch.setattr(runner, "train", look)
    settings = read_config(config("c.yml", smoothing=0.1))
    runner.run(RewardTraining, settings, tmp_path / "out", tmp_path)
    ((loss, rewards, gradient),) = found
    apart = [rewards[i] - rewards[i + 3] - (0.3 if i == 1 else 0) for i in range(3)]
    labels = [0.9, 0.2, 0.5]
    expected = sum(map(soft_loss, labels, apart)) / 3
    assert loss == pytest.approx(expected, abs=1e-6)
    wanted = [(1 / (1 + math.exp(-d)) - y) / 3 for y, d in zip(labels, apart, strict=True)]
    assert gradient == pytest.approx(wanted, abs=1e-6)


def test_labels_move_after_each_epoch(tmp_path: Path) -> None:
    """By the formula; they stay shares, and are read back."""
    labels = SoftLabels(PAIRS, 0.1, 0.5, tmp_path / FILE)
    labels.updated([0.0, -20.0])
    assert labels.by_epoch[1] == pytest.approx([0.7, 0.45])
    labels.updated([50.0, -50.0])
    assert labels.by_epoch[2] == pytest.approx([0.85, 0.225])
    assert SoftLabels(PAIRS, 0.1, 0.5, tmp_path / FILE).by_epoch == labels.by_epoch
    assert [one["turned"] for one in labels.figures()] == [0, 0.5, 0.5]
    assert json.loads((tmp_path / FILE).read_text("utf-8"))["pairs"] == PAIRS
    other = SoftLabels(PAIRS, 0.1, 0.5, tmp_path / "other", writes=False)  # of another process
    other.updated([0.0, -20.0])
    assert other.by_epoch == labels.by_epoch[:2] and not (tmp_path / "other").exists()


def test_a_killed_run_has_the_same_labels(
    config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two epochs, before the labels are written: the end is that of a whole run."""
    from safetensors.torch import load_file

    settings = config("c.yml", rate=0.6)
    assert run(settings, "-o", tmp_path / "whole").exit_code == 0
    updated = SoftLabels.updated

    def kill(self: SoftLabels, differences: Any) -> None:
        if len(self.by_epoch) == 2:
            raise RuntimeError("killed")
        updated(self, differences)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(SoftLabels, "updated", kill)
        run(settings, "-o", tmp_path / "killed")
    again = run(settings, "-o", tmp_path / "killed")
    assert again.exit_code == 0 and "going on from checkpoint-" in again.output
    kept = [json.loads((tmp_path / name / FILE).read_text()) for name in ("whole", "killed")]
    assert kept[0]["pairs"] == kept[1]["pairs"]
    numbers = [int(place.removeprefix("rows.jsonl, row ")) for place in kept[0]["pairs"]]
    assert numbers == sorted(set(numbers)) and len(numbers) == len(kept[0]["labels"][0]) < 24
    labels = [one["labels"] for one in kept]
    assert len(labels[0]) == 3 and labels[0] == labels[1]
    assert set(labels[0][0]) == {1.0} and all(0 < y < 1 for y in labels[0][2])
    one, other = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed")
    )
    assert all(other[name].equal(tensor) for name, tensor in one.items())
    figures = json.loads((tmp_path / "killed" / "figures.json").read_text())
    assert [round(epoch["label"], 6) for epoch in figures["labels"]] == [
        round(sum(row) / len(row), 6) for row in labels[0]
    ]


def test_labels_move_by_the_margin_too(
    config: Callable[..., Path], write_jsonl: Write, tmp_path: Path
) -> None:
    """What the loss compares is what a label moves to: here no reward is the margin apart."""
    content = yaml.safe_load(config("c.yml", epochs=2, rate=0.6).read_text("utf-8"))
    write_jsonl("rows.jsonl", [{**row, "extra": 500.0} for row in pairs(24)])
    content["data"][0]["columns"] = {"margin": "extra"}
    (tmp_path / "c.yml").write_text(yaml.safe_dump(content), "utf-8")
    assert run(tmp_path / "c.yml", "-o", tmp_path / "out").exit_code == 0
    _, moved = json.loads((tmp_path / "out" / FILE).read_text())["labels"]
    assert moved == pytest.approx([0.4] * len(moved))


@pytest.mark.parametrize(
    ("labels", "epochs", "reason"),
    [
        ({"smoothing": 0.5}, 1, "`smoothing` must be from 0 to below 0.5"),
        ({"rate": 1.5}, 2, "`rate` must be from 0 to 1"),
        ({"rate": 0.5}, 1, "`epochs` above 1"),
        ({"rates": 0.5}, 2, "did you mean `rate`?"),
    ],
)
def test_mistakes_are_one_line(
    config: Callable[..., Path], tmp_path: Path, labels: dict[str, float], epochs: int, reason: str
) -> None:
    result = run(config("c.yml", epochs, **labels), "-o", tmp_path / "out")
    assert result.exit_code == 1 and reason in result.output and result.output.count("\n") == 1
