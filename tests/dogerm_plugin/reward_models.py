"""Several tiny reward models of one base, whose heads can be put together."""

import shutil
from pathlib import Path
from typing import Any

import merging
import tiny
import torch
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from dogerm_plugin.run.in_memory import Merges


def save(folder: Path, seed: int, dtype: torch.dtype = torch.float32, labels: int = 1) -> Path:
    """A reward model with a tokenizer, of the base that all have and noise of its own."""
    config = tiny.tiny_config("llama")
    config.num_labels = labels
    tiny.save_random(folder, AutoModelForSequenceClassification, config, seed, dtype)
    merging.save_tokenizer(folder, merging.words(96))
    return folder


def save_base(folder: Path, seed: int = 9) -> Path:
    """A language model of the same base."""
    tiny.save_random(folder, AutoModelForCausalLM, tiny.tiny_config("llama"), seed)
    merging.save_tokenizer(folder, merging.words(96))
    return folder


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def recipe(method: str, *models: Path | tuple[Path, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A recipe of these models, with each one's parameters where they are given."""
    pairs = [one if isinstance(one, tuple) else (one, {}) for one in models]
    entries = [{"model": str(m), **({"parameters": p} if p else {})} for m, p in pairs]
    return {"merge_method": method, "models": entries, **more}


def in_memory(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Every tensor of a merge that is not written."""
    config = MergeConfiguration.model_validate(content)
    return dict(Merges(config, MergeOptions(quiet=True)).tensors(config))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """The same tensors, dtypes and bits."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )
