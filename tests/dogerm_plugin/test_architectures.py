"""Every decoder type that transformers has as both reward model and language model is merged."""

import warnings
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

WEIGHT = 0.3
TYPES = tiny.decoder_types()
MERGED: dict[str, str] = {}


def merge(recipe: Path, out: Path) -> None:
    source = recipe.read_text()
    config = MergeConfiguration.model_validate(yaml.safe_load(source))
    run_merge(config, str(out), MergeOptions(quiet=True), config_source=source)


def bodies(rm: torch.nn.Module, lm: torch.nn.Module) -> tuple[str, dict, dict]:
    """The reward model's prefix of what is merged, and both bodies by relative name.

    A multimodal reward model wraps the text model that the language model is.
    """
    theirs = below(f"{lm.base_model_prefix}.", lm)
    prefix = f"{rm.base_model_prefix}."
    if set(below(prefix, rm)) != set(theirs):
        prefix += "language_model."
    return prefix, below(prefix, rm), theirs


def below(prefix: str, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


@pytest.mark.parametrize("model_type", TYPES)
def test_type_is_merged_by_the_formula(model_type: str, tmp_path: Path) -> None:
    """Body equal to λ·LM + (1−λ)·RM, head equal, clean load, finite reward."""
    rm_path, lm_path = tiny.save_pair(tmp_path, model_type)
    merge(tiny.write_recipe(tmp_path / "recipe.yml", rm_path, lm_path, WEIGHT), tmp_path / "out")

    merged, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    rm = AutoModelForSequenceClassification.from_pretrained(rm_path)
    prefix, mine, theirs = bodies(rm, AutoModelForCausalLM.from_pretrained(lm_path))
    state = merged.state_dict()
    assert set(mine) == set(theirs)
    for name, tensor in state.items():
        relative = name.removeprefix(prefix)
        if name.startswith(prefix) and tensor.is_floating_point():
            expected = WEIGHT * theirs[relative] + (1 - WEIGHT) * mine[relative]
        else:
            expected = rm.state_dict()[name]
        assert torch.equal(tensor, expected), name
    head = [name for name in state if not name.startswith(f"{rm.base_model_prefix}.")]
    assert head, "no head found"
    reward = merged(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    assert reward.shape == (1, 1) and torch.isfinite(reward).all()
    MERGED[model_type] = "ok"


def test_how_many_types_are_merged() -> None:
    """Prints the count; 60 of 63 is the bar with transformers 5.23."""
    if not MERGED:
        pytest.skip("run together with the types above")
    left_out = sorted(set(TYPES) - set(MERGED))
    print(f"\nmerged {len(MERGED)} of {len(TYPES)}", *(f"not: {name}" for name in left_out))
    if left_out:
        warnings.warn(f"not merged: {left_out}", stacklevel=1)
    assert len(MERGED) >= len(TYPES) - 3
