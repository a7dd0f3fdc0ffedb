"""mergekit's own methods on a reward model, by the way that its users go: as a fake language model.

The reward model's body is saved as a causal LM (its head put aside, the base's LM head in its
place), merged by the unchanged method, and compared with what this project's method makes of it.
"""

from pathlib import Path
from typing import NamedTuple

import merging
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification


class Family(NamedTuple):
    """Folders of a pretrained base and of what was trained from it."""

    base: Path
    rm: Path
    lm: Path
    other: Path
    disguised: Path


def family(folder: Path, model_type: str, dtype: torch.dtype = torch.float32) -> Family:
    """A base, a reward model, two language models, and the reward model as a language model."""
    rm, lm = tiny.save_pair(folder, model_type, dtype, tie_word_embeddings=False)
    config = tiny.tiny_config(model_type, tie_word_embeddings=False)
    for name, seed in (("base", 3), ("other", 2)):
        tiny.save_random(folder / name, AutoModelForCausalLM, config, seed, dtype)
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype)
    reward = AutoModelForSequenceClassification.from_pretrained(rm, dtype=dtype)
    trunk = reward.base_model_prefix
    getattr(model, trunk).load_state_dict(getattr(reward, trunk).state_dict())
    model.save_pretrained(folder / "disguised")
    return Family(folder / "base", rm, lm, folder / "other", folder / "disguised")


def recipe(base: Path | None, *models: tuple[Path, dict], **more: object) -> dict:
    """A recipe with these parameters for each model."""
    named = [{"model": str(m), **({"parameters": p} if p else {})} for m, p in models]
    return {**({"base_model": str(base)} if base else {}), "models": named, **more}


def by_mergekit(folder: Path, of: Family, content: dict) -> dict[str, torch.Tensor]:
    """What mergekit's own method makes of a recipe for this project's."""
    text = {str(of.rm): str(of.disguised)}
    content = {
        **content,
        "merge_method": content["merge_method"].removeprefix("reward_preserving_"),
        "models": [{**m, "model": text.get(m["model"], m["model"])} for m in content["models"]],
    }
    if "base_model" in content:
        content["base_model"] = text.get(content["base_model"], content["base_model"])
    return merging.merged(folder, content)
