"""Methods that draw random numbers: the recipe's, as many as mergekit draws, in any order."""

import os
from pathlib import Path
from typing import Any

import disguise
import merging
import pytest
import torch
from disguise import Family
from mergekit import merge_methods
from mergekit.config import MergeConfiguration
from mergekit.merge_methods.base import TensorGroup
from mergekit.options import MergeOptions

from dogerm_plugin.methods import registry
from dogerm_plugin.run.in_memory import Merges

RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")
UP = "model.layers.2.mlp.up_proj.weight"
DRAWS = 300
SHAPE = (40, 50)


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return disguise.family(tmp_path_factory.mktemp("random"), "llama")


def recipe(of: Family, method: str, **shared: Any) -> dict[str, Any]:
    """A reward model and a domain model, half of each task vector kept."""
    models = [(of.rm, {"weight": 1, "density": 0.5}), (of.lm, {"weight": 0.6, "density": 0.5})]
    return disguise.recipe(
        of.base, *models, merge_method=f"reward_preserving_{method}", parameters=shared
    )


def in_memory(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    config = MergeConfiguration.model_validate(content)
    return dict(Merges(config, MergeOptions(quiet=True)).tensors(config))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("method", RANDOM)
def test_the_recipes_numbers(of: Family, tmp_path: Path, method: str) -> None:
    """Whatever was drawn before and on any number of threads; another seed's are others."""
    torch.manual_seed(1)
    written = merging.merged(tmp_path, recipe(of, method))
    assert torch.random.initial_seed() == 1
    torch.rand(7)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert same(in_memory(recipe(of, method)), written)
    finally:
        torch.set_num_threads(threads)
    assert same(in_memory(recipe(of, method, seed=0)), written)
    assert not torch.equal(in_memory(recipe(of, method, seed=1))[UP], written[UP])


def test_in_a_process_with_another_order_of_hashes(of: Family, tmp_path: Path) -> None:
    """The same bytes, from as many threads as there are."""
    path = merging.write(tmp_path, recipe(of, "dare_ties"))
    threads = str(os.cpu_count())
    running = merging.process(path, tmp_path / "out", PYTHONHASHSEED="5", OMP_NUM_THREADS=threads)
    expected = in_memory(recipe(of, "dare_ties"))
    _, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    assert same(merging.tensors(tmp_path / "out"), expected)


@pytest.mark.parametrize("method", RANDOM)
def test_as_many_as_mergekit_draws(method: str) -> None:
    """Mean and share of the kept over many draws, within four standard errors of its own."""
    generator = torch.Generator().manual_seed(0)
    base, one = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    group = TensorGroup.from_tensors([base, one], ids=["base", "one"], base_index=0, name="w")
    given = {"weight": [1.0], "density": [0.6]}
    registry.of(f"reward_preserving_{method}")
    ours, theirs = (merge_methods.get(f"{p}{method}") for p in ("reward_preserving_", ""))
    torch.manual_seed(0)
    drawn: dict[str, list[torch.Tensor]] = {"ours": [], "theirs": []}
    for seed in range(DRAWS):
        told = {**given, "seed": seed, "reward_model": "one"}
        drawn["ours"].append(ours([group], parameters=told)[0] - base)
        drawn["theirs"].append(theirs([group], parameters=given)[0] - base)
    a, b = (torch.stack(one) for one in drawn.values())
    kept = [(one.abs() > 1e-6).float().mean(dim=(1, 2)) for one in (a, b)]
    for x, y in ((a.mean(dim=(1, 2)), b.mean(dim=(1, 2))), tuple(kept)):
        error = (x.var() / DRAWS + y.var() / DRAWS).sqrt()
        assert abs(x.mean() - y.mean()) <= 4 * error
    assert abs(kept[0].mean() - 0.6) < 0.01
    assert len({tuple(one.flatten().tolist()) for one in a}) == DRAWS
