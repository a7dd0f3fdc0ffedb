"""Tiny reward models of several kinds, each with a tokenizer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.harness.conftest import sharpened

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, tokenizer: Any, small_config: dict[str, Any]) -> Save:
    """Saves a model of a class whose chats end in EOS; keyword arguments change its config."""
    own = copy.deepcopy(tokenizer)
    own.eos_token = "<|im_end|>"

    def made(kind: str = "Llama", task: str = "SequenceClassification", **changes: Any) -> Path:
        config = getattr(transformers, f"{kind}Config")(**{**small_config, **changes})
        model = getattr(transformers, f"{kind}For{task}")(config)
        folder = tmp_path / kind.lower()
        sharpened(model).save_pretrained(folder)
        own.save_pretrained(folder)
        return folder

    return made


@pytest.fixture
def value_head(save: Save) -> Path:
    """A language model, and TRL's value head with a bias in a file of its own beside it."""
    folder = save("Llama", "CausalLM")
    weight = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    tensors = {"v_head.summary.weight": weight, "v_head.summary.bias": torch.tensor([0.3])}
    save_file(tensors, folder / "value_head.safetensors")
    return folder


@pytest.fixture
def of_openrlhf(save: Save) -> Path:
    """As OpenRLHF saves one: its own class, a head of another name, mean and deviation."""
    folder = save()
    tensors = load_file(folder / "model.safetensors")
    tensors["value_head.weight"] = tensors.pop("score.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"architectures": ["RewardModel"], "value_head_prefix": "value_head"}
    config |= {"mean": 0.5, "std": 2.0}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder
