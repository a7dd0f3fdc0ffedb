"""Small training files and configurations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.harness.conftest import tuned


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration beside its data; keyword arguments are its top-level keys."""

    def write(name: str = "config.yml", **content: Any) -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content), "utf-8")
        return path

    return write


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[str, list[dict[str, Any]]], Path]:
    """Writes rows to a JSONL file of that name in the test's folder."""

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def sparse_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Path:
    """A mixture of three tiny Llama reward models, as the real mergekit-moe makes it."""
    from mergekit.scripts.moe import main
    from transformers import LlamaConfig, LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("mixture")
    names = ["general", "maths", "code"]
    for seed, name in enumerate(names, 1):
        model = LlamaForSequenceClassification(LlamaConfig(**small_config))
        tuned(model, seed, share=0.1).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    recipe = {
        "base_model": str(folder / "general"),
        "gate_mode": "random",
        "experts": [{"source_model": str(folder / name)} for name in names],
    }
    (folder / "more.yml").write_text(yaml.safe_dump(recipe), "utf-8")
    done = CliRunner().invoke(main, [str(folder / "more.yml"), str(folder / "out")])
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture(scope="session")
def tied_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Path:
    """A tiny Llama language model whose head is its embedding, as SmolLM2's is."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {k: v for k, v in small_config.items() if k != "num_labels"}
    config = LlamaConfig(**sizes, tie_word_embeddings=True)
    folder = tmp_path_factory.mktemp("tied-model")
    tuned(LlamaForCausalLM(config), seed=10).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["untied", "tied"])
def base(request: pytest.FixtureRequest, language_model: Path, tied_model: Path) -> Path:
    """A tiny language model."""
    return language_model if request.param == "untied" else tied_model


def pairs(count: int) -> list[dict[str, str]]:
    """Preference pairs; the longer answer is chosen in two of three."""
    return [
        {
            "prompt": f"Please name the number after {n}!",
            "chosen": f"It is {n + 1}." + " I hope that helps." * (n % 3),
            "rejected": f"It is {n + 2}, it is." + " I cannot help." * (n % 2),
        }
        for n in range(count)
    ]
