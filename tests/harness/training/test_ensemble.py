# SPDX-License-Identifier: Apache-2.0
"""`dogerm train reward --ensemble`: adapters of one base, of seeds of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from harness.rows.answer import Answer
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs
from tests.harness.models.test_router import talks
from tests.harness.training.conftest import pairs

Write = Callable[[str, list[dict[str, Any]]], Path]
SMALL = {"batch_size": 8, "learning_rate": 1e-2, "evaluations": 1, "checkpoints": 1}


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(train, ["reward", *map(str, arguments)], catch_exceptions=False)


def test_members_and_what_they_say(
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A killed run keeps the member that is finished; the ensemble is scored as written."""
    from harness.models.ensemble import RewardEnsemble
    from harness.training import ensemble

    write_jsonl("rows.jsonl", pairs(24))
    config = write_config(
        model=str(language_model),
        data=[{"file": "rows.jsonl"}],
        lora={"rank": 2},
        training={**SMALL, "seed": 5},
        validation={"share": 0.2},
    )
    seeds: list[int] = []
    train_reward = ensemble.train_reward

    def cut(settings: Any, *rest: Any) -> Any:
        if len(seeds) == 1:
            raise RuntimeError("killed")
        seeds.append(settings.training.seed)
        return train_reward(settings, *rest)

    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(ensemble, "train_reward", cut)
        run(config, "--ensemble", "2", "-o", out)
    again = run(config, "--ensemble", "2", "-o", out)
    assert again.exit_code == 0 and "member 1: finished already" in again.output
    settings = [json.loads((out / n / "run.json").read_text())["settings"] for n in "12"]
    assert [one["training"]["seed"] for one in settings] == [5, 6]
    members = [str(out / name) for name in "12"]
    assert f"'pretrained={language_model},adapters={';'.join(members)}'" in again.output
    asked = talks(some_pairs(3))
    alone = [rewards(reward(language_model, peft=one), asked) for one in members]
    assert alone[0] != alone[1]
    model = RewardEnsemble(str(language_model), adapters=members, device="cpu", batch_size=4)
    answers = map(Answer.of, model.loglikelihood(requests(asked), True))
    assert [answer.details["members"] for answer in answers] == [
        pytest.approx(row, abs=1e-5) for row in zip(*alone, strict=True)
    ]


def test_mistakes_are_one_line(
    tmp_path: Path,
    language_model: Path,
    write_config: Callable[..., Path],
    write_jsonl: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_jsonl("rows.jsonl", pairs(8))
    content = {"model": str(language_model), "data": [{"file": "rows.jsonl"}]}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    config = write_config(**content)
    refused = run(config, "--ensemble", "2", "-o", tmp_path / "other")
    assert refused.exit_code == 1 and "none of the members (1, 2)" in refused.output
    (tmp_path / "file").touch()
    refused = run(config, "--ensemble", "2", "-o", tmp_path / "file")
    assert refused.exit_code in (1, 2) and "Traceback" not in refused.output
    whole = write_config("whole.yml", **content, lora=None)
    refused = run(whole, "--ensemble", "2", "-o", tmp_path / "out")
    assert refused.exit_code == 1 and "--ensemble trains adapters" in refused.output
    both = run(config, "--ensemble", "2", "--domains", "-o", tmp_path / "out")
    assert both.exit_code == 2 and "do not go together" in both.output
    monkeypatch.setenv("WORLD_SIZE", "2")  # as a launcher does
    several = run(config, "--ensemble", "2", "-o", tmp_path / "out")
    assert several.exit_code == 1 and "each member is trained by one process" in several.output
    assert not (tmp_path / "out").exists()
