"""Every decoder type that transformers has as both reward model and language model is merged."""

from pathlib import Path

import pytest
import tiny
import torch
import yaml
from mergekit import merge_methods
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.merge_methods.base import TensorGroup
from mergekit.options import MergeOptions
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from dogerm_plugin.host import view
from dogerm_plugin.run.in_memory import Merges

WEIGHT = 0.3
TYPES = tiny.decoder_types()
RESULTS: dict[str, str] = {}  # model type -> "merged", or why not


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
    try:
        check(model_type, tmp_path)
    except Exception as error:
        RESULTS[model_type] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise
    RESULTS[model_type] = "merged"


def check(model_type: str, tmp_path: Path) -> None:
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
    tiny.save_language_model(tmp_path / "base", model_type, 3)
    for method in ("task_arithmetic", "ties"):
        check_task_vectors(method, tmp_path / "base", rm_path, lm_path)


def check_task_vectors(method: str, *folders: Path) -> None:
    """Every body tensor is what mergekit's own method makes of the same three."""
    base, rm, lm = map(str, folders)
    given = {rm: {"weight": 1.0, "density": 0.6}, lm: {"weight": 0.7, "density": 0.4}}
    recipe = {
        "merge_method": f"reward_preserving_{method}",
        "base_model": base,
        "models": [{"model": model, "parameters": own} for model, own in given.items()],
    }
    config = MergeConfiguration.model_validate(recipe)
    merges = Merges(config, MergeOptions(quiet=True))
    views = {str(model): one for model, one in view.views(merges.layout, {}).items()}
    body, merged = {*merges.layout.body}, dict(merges.tensors(config))
    assert body <= merged.keys()
    for name in sorted(body):
        inputs = [views[model].get_tensor(name) for model in (base, rm, lm)]
        if not inputs[0].is_floating_point():
            continue
        group = TensorGroup.from_tensors(inputs, base_index=0)
        parameters = {key: [one[key] for one in given.values()] for key in ("weight", "density")}
        (expected,) = merge_methods.get(method)([group], parameters=parameters)
        assert torch.equal(merged[name], expected), name


def test_how_many_types_are_merged(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the count; 60 of 63 is the bar with transformers 5.23."""
    if set(RESULTS) != set(TYPES):
        pytest.skip("counts only after a run of all types")
    left_out = {name: why for name, why in RESULTS.items() if why != "merged"}
    with capsys.disabled():
        print(f"\nmerged {len(TYPES) - len(left_out)} of {len(TYPES)}")
        for name, why in left_out.items():
            print(f"  not {name}: {why}")
    assert len(left_out) <= 3
