"""The real command on tiny models: made, killed, gone on with, changed, and compared."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm
from tests.harness.study.sweeping import TASK, pairs

RECIPE = {
    "merge_method": "reward_preserving_linear",
    "base_model": "${general}",
    "models": [{"model": "domain", "parameters": {"weight": 0.4}}],
}


@pytest.fixture
def folder(tmp_path: Path, reward_model: Path, language_model: Path) -> Path:
    """Two models, tasks that choose and are reported, and pairs to train on."""
    for name, model in (("rm", reward_model), ("domain", language_model)):
        (tmp_path / name).symlink_to(model)
    for name, count in (("chosen", 6), ("facts", 12), ("other", 10), ("train", 16)):
        rows = "".join(json.dumps(row) + "\n" for row in pairs(name, count))
        (tmp_path / f"{name}.jsonl").write_text(rows, "utf-8")
        data = tmp_path / f"{name}.jsonl"
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, data=data), "utf-8")
    return tmp_path


def write(folder: Path, select: str = "chosen.yaml", **candidates: Any) -> None:
    content = {
        "general": "general",
        "tasks": {"domain": ["facts.yaml"], "outside": ["other.yaml"]},
        "select": [select],
        "seeds": [1],
        "model_args": {"dtype": "float32", "device": "cpu"},
        "candidates": {
            "general": {"model": "reward", "model_args": {"pretrained": "rm"}},
            **candidates,
        },
    }
    (folder / "study.yml").write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")


def command(folder: Path, *more: str) -> list[str]:
    return ["-m", "harness", "study", str(folder / "study.yml"), *more]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return warm.run(*command(folder, "-o", str(folder / "out"), *more))


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "study.json").read_text("utf-8"))
    return found


def wait_for(there: Callable[[], bool], process: warm.Process) -> None:
    while not there():
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_a_study_is_killed_goes_on_and_makes_again_what_changed(folder: Path) -> None:
    training = {
        "model": "domain",
        "data": [{"file": "train.jsonl"}],
        "lora": {"rank": 2},
        "training": {"batch_size": 8, "dtype": "float32"},
        "validation": {"share": 0.2},
    }
    over = {**RECIPE, "base_model": "${trained}"}
    write(
        folder,
        trained={"train": {"kind": "reward", "config": training}, "report": False},
        over={"recipe": over},
        swept={"sweep": {"recipe": RECIPE, "weight": "0,0.5"}},
        broken={"model": "reward", "model_args": {"pretrained": "nowhere"}},
    )
    out = folder / "out"
    process = warm.Process(*command(folder, "-o", str(out)))
    wait_for(lambda: (out / "logs" / "train-trained-seed-1.log").exists(), process)
    process.kill()
    process.wait()
    before = (out / "steps" / "score-general.json").read_bytes()

    done = run(folder)
    assert done.returncode == 1
    assert "1 of 9 steps are there already" in done.stderr
    assert "scoring general" not in done.stderr
    assert (out / "steps" / "score-general.json").read_bytes() == before
    found = content(folder)
    by_name = {one["name"]: one for one in found["candidates"]}
    assert list(by_name) == ["general", "over", "swept", "broken"]
    assert "nowhere" in by_name["broken"]["error"]
    assert "failed: broken" in done.stdout
    assert by_name["over"]["seeds"] == [1]
    assert by_name["over"]["training_tokens"] > 0
    assert by_name["general"]["training_tokens"] is None
    assert by_name["general"]["parameters"]["stored"] > 0
    assert "rows of chosen" in by_name["swept"]["chosen"]["swept"]
    assert set(by_name["swept"]["against"]) == {"domain", "outside"}
    assert (out / "study.md").is_file() and (out / "study.png").is_file()

    config = dict(training, lora={"rank": 4})
    write(
        folder,
        trained={"train": {"kind": "reward", "config": config}, "report": False},
        over={"recipe": over},
        swept={"sweep": {"recipe": RECIPE, "weight": "0,0.5"}},
    )
    planned = run(folder, "--plan").stdout
    again = [line.split("  ")[-1].strip() for line in planned.splitlines() if "  run " in line]
    assert again == [
        "training trained, seed 1",
        "exporting trained, seed 1",
        "merging over, seed 1",
        "scoring over, seed 1",
    ]


def test_a_prompt_that_chooses_and_is_reported_is_refused(folder: Path) -> None:
    write(folder, select="facts2.yaml", swept={"sweep": {"recipe": RECIPE}})
    text = TASK.format(name="facts2", data=folder / "facts.jsonl")
    (folder / "facts2.yaml").write_text(text, "utf-8")
    done = run(folder, "--plan")
    assert done.returncode == 1
    assert "12 prompts of facts, which is reported, are also in facts2" in done.stderr
    assert not (folder / "out").exists()
