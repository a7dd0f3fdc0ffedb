"""Rewards as consumers compute them, and what a folder stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

IDS = [[1, 17, 40, 8, 99, 3], [1, 250, 77, 31], [1, 5, 6, 7, 8, 9, 10, 11]]


def stored(folder: Path) -> dict[str, bytes]:
    """Every tensor's dtype, shape and bytes by name."""
    held: dict[str, bytes] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            raw = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            held[name] = f"{tensor.dtype} {list(tensor.shape)} ".encode() + raw
    return held


def config(folder: Path) -> dict[str, Any]:
    """Its config.json."""
    read: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return read


def settled(model: Any) -> Any:
    """For evaluation, its weights in memory of their own.

    A mapped file's tensors lie as its header leaves them, and matrix products of numbers that lie
    otherwise may differ in the last bit.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model.eval()


def by_transformers(folder: Path) -> list[float]:
    """By the class that transformers finds for it, as TRL and NeMo-RL load it too."""
    kind = transformers.AutoModelForSequenceClassification
    model, told = kind.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"]
    settled(model)
    with torch.no_grad():
        return [float(model(torch.tensor([ids])).logits) for ids in IDS]


def by_tokens(folder: Path) -> list[float]:
    """As verl 0.7.0 loads it (workers/fsdp_workers.py): at the last token."""
    read = transformers.AutoConfig.from_pretrained(folder)
    read.num_labels = 1
    read.classifier_dropout = 0.0
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder, config=read)
    settled(model)
    with torch.no_grad():
        return [float(model(torch.tensor([ids])).logits[0, -1]) for ids in IDS]


def by_openrlhf(folder: Path, normalized: bool) -> list[float]:
    """As OpenRLHF 0.11.2 does (models/model.py): (w·h - mean) / std, w by its name in config."""
    read = config(folder)
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    head = weights[f"{read.get('value_head_prefix', 'score')}.weight"].clone()
    mean, std = read.get("mean", 0.0), read.get("std", 1.0)
    body = settled(transformers.AutoModel.from_pretrained(folder))
    rewards = []
    with torch.no_grad():
        for ids in IDS:
            states = body(torch.tensor([ids])).last_hidden_state
            reward = torch.nn.functional.linear(states, head)[0, -1, 0]
            rewards.append(float((reward - mean) / std if normalized else reward))
    return rewards
