"""A folder with tiny models, a recipe and data, and the real command run in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Command
from click.testing import CliRunner, Result
from matplotlib.figure import Figure

from tests import warm
from tests.harness.conftest import tuned

TASK = "task: {name}\nclass: !function harness.own_data.OwnPreferences\ndataset_path: {data}\n"


def pairs(name: str, count: int, start: int = 0) -> list[dict[str, Any]]:
    """Pairs with different prompts; those of another name have other prompts.

    The tiny reward model likes the refusals less, the tiny language model's body more.
    """
    return [
        {
            "prompt": f"What is {n} and {n + 1}? ({name})",
            "chosen": f"I cannot help with {3 * n}!",
            "rejected": f"{n} and {n + 1} is {2 * n + 1}, please {n}",
        }
        for n in range(start, start + count)
    ]


def save_language_model(folder: Path, tokenizer: Any, config: dict[str, Any], seed: int) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {name: value for name, value in config.items() if name != "num_labels"}
    tuned(LlamaForCausalLM(LlamaConfig(**sizes)), seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def disk_of_one_mebibyte(folder: Path) -> Iterator[Path]:
    """A small file system of its own, where this may be mounted; else the test is skipped."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("can't mount a small file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # SQLite may have it open


@contextmanager
def sketched() -> Iterator[None]:
    """Pictures' files hold a few bytes: to draw them takes as long as to measure two merges."""
    draw = Figure.savefig

    def sketch(figure: Figure, file: Any, **how: Any) -> None:
        if isinstance(file, Path):
            file.write_bytes(b"a picture")
        else:
            draw(figure, file, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", sketch)
        yield


@dataclass
class Workshop:
    """Where a sweep is made: ``recipe.yml``, the tasks ``chosen`` and ``proof``, and ``out``.

    `draws`: whether its pictures are drawn, and not only sketched.
    """

    folder: Path
    models: Sequence[Path]
    out: Path = field(init=False)
    draws: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.out = self.folder / "out"
        self.write_recipe()
        self.write_task("chosen", pairs("chosen", 12))
        self.write_task("proof", pairs("proof", 10))

    def write_recipe(self, **more: Any) -> Path:
        reward, *domain = map(str, self.models)
        content = {
            "merge_method": "reward_preserving_linear",
            "base_model": reward,
            "models": [{"model": one, "parameters": {"weight": 0.3}} for one in domain],
            **more,
        }
        path = self.folder / "recipe.yml"
        path.write_text("# a comment\n" + yaml.safe_dump(content, sort_keys=False), "utf-8")
        return path

    def write_task(self, name: str, rows: list[dict[str, Any]], more: str = "") -> Path:
        data = self.folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        path = self.folder / f"{name}.yaml"
        path.write_text(TASK.format(name=name, data=data) + more, "utf-8")
        return path

    def arguments(self, *more: str) -> list[str]:
        """Of a sweep of the two tasks; what `more` says comes last, so it counts."""
        named = {"--select": "chosen.yaml", "--report": "proof.yaml"}
        given = {"-o": str(self.out), "--weight": "0:1:0.5"}
        given |= {option: str(self.folder / name) for option, name in named.items()}
        left = {option: value for option, value in given.items() if option not in more}
        parts = [part for item in left.items() for part in item]
        return ["sweep", str(self.folder / "recipe.yml"), *parts, *more]

    def sweep(self, *more: str) -> Result:
        """Run the command in this process."""
        from harness.commands.cli import main

        return self.invoke(main, self.arguments(*more))

    def invoke(self, command: Command, arguments: list[str]) -> Result:
        with nullcontext() if self.draws else sketched():
            return CliRunner().invoke(command, arguments)

    def swept(self, *more: str) -> dict[str, Any]:
        """What ``sweep.json`` holds after a run that must not fail."""
        result = self.sweep(*more)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return self.content()

    def start(self, *more: str) -> warm.Process:
        """Run the command in a process of its own, its progress in a pipe."""
        return warm.Process("dogerm", *self.arguments(*more), cwd=self.folder)

    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "sweep.json").read_text("utf-8"))
        return found

    def measured(self) -> dict[str, int]:
        """``λ/role/task`` -> when it was measured (ns)."""
        results = self.out / "results"
        stamps = results.glob("*/*/*/made-with.json")
        return {
            str(one.parent.relative_to(results)): one.stat().st_mtime_ns for one in sorted(stamps)
        }


def figures(content: dict[str, Any]) -> dict[str, Any]:
    """What must be the same however a sweep came about."""
    found = json.loads(json.dumps(content))
    for key in ("made", "best_recipe"):
        del found[key]
    for point in (*found["points"], *found.get("race", {}).get("dropped", [])):
        del point["seconds"]
    return found  # type: ignore[no-any-return]
