"""A method that a few lines declare is checked, merged and told about as the project's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import merging
import pytest
import tiny
import torch
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from merging import Trio
from own_methods import DROPPED, SCALED, registered

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import Method
from dogerm_plugin.run.in_memory import Merges

FOR_ONE = replace(SCALED, name=f"{SCALED.name}_for_one", most_domain_models=1)
BY_ROW = replace(SCALED, name=f"{SCALED.name}_by_row", by_row=True)
HEAD = "score.weight"
ROWS = "model.embed_tokens.weight"
LAYER_2 = "model.layers.2.mlp.up_proj.weight"


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """Recipes may name them."""
    with registered(SCALED, FOR_ONE, BY_ROW, DROPPED):
        yield


def recipe(trio: Trio, *weights: Any, scale: Any = None, **more: Any) -> dict[str, Any]:
    """A recipe of the method with one weight for each domain model."""
    models = zip((trio.lm, trio.other), weights, strict=False)
    content = merging.recipe(trio.rm, *models, **{"merge_method": SCALED.name, **more})
    return content if scale is None else {**content, "parameters": {"scale": scale}}


def in_memory(content: dict[str, Any], first: dict[str, Any] | None = None) -> dict[str, Any]:
    """A recipe merged in memory, by what was laid out for it or for another one before."""
    config = MergeConfiguration.model_validate(content)
    merges = Merges(MergeConfiguration.model_validate(first or content), MergeOptions(quiet=True))
    return dict(merges.tensors(config))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_by_the_command_and_in_memory(trio: Trio, tmp_path: Path) -> None:
    """Bit-equal to each other, and the formula's; the head is the reward model's."""
    content = recipe(trio, 1.5, -0.5, scale=0.5)
    out = merging.merged(tmp_path, content)
    assert same(in_memory(content, recipe(trio, 0, 0, scale=1)), out)
    rm, lm, other = map(merging.tensors, trio)
    for name, reward in rm.items():
        change = 1.5 * (lm[name] - reward) + -0.5 * (other[name] - reward) if name in lm else None
        assert torch.equal(out[name], reward if change is None else reward + 0.5 * change), name
    assert torch.equal(out[HEAD], rm[HEAD]) and not torch.equal(out[LAYER_2], rm[LAYER_2])


def test_in_a_process_of_its_own(trio: Trio, tmp_path: Path) -> None:
    """mergekit-yaml's main, after a module from PYTHONPATH has registered the method."""
    code = (
        "from own_methods import SCALED\n"
        "from dogerm_plugin.methods import registry\n"
        "from mergekit.scripts.run_yaml import main\n"
        "registry.register(SCALED)\n"
        "main()\n"
    )
    path = merging.write(tmp_path, recipe(trio, 0.25, scale=2))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "out")],
        env={**os.environ, "DOGERM_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "head kept: score.weight" in ran.stderr
    assert same(in_memory(recipe(trio, 0.25, scale=2)), merging.tensors(tmp_path / "out"))


def test_at_rest_it_is_the_reward_model(trio: Trio) -> None:
    """Each of the two values that are declared so, whatever the other is."""
    reward = merging.tensors(trio.rm)
    for content in (recipe(trio, 0, scale=3), recipe(trio, 2, scale=0)):
        assert same(in_memory(content), reward)


def test_gradients_and_filters(trio: Trio) -> None:
    """Of both kinds of parameter, as mergekit has them."""
    weight = [{"filter": "layers.2.", "value": [0, 0, 1, 1]}, {"value": 0}]
    scale = [{"filter": ".mlp.", "value": "5e-1"}, {"value": 0}]
    out = in_memory(recipe(trio, weight, scale=scale))
    rm, lm = merging.tensors(trio.rm), merging.tensors(trio.lm)
    changed = {name for name in rm if not torch.equal(out[name], rm[name])}
    assert changed == {name for name in rm if ".layers.2.mlp." in name}
    assert torch.equal(out[LAYER_2], rm[LAYER_2] + 0.5 * (lm[LAYER_2] - rm[LAYER_2]))


def sliced(trio: Trio, *scales: float, method: str, name: str) -> dict[str, Any]:
    """Two layers a slice, each slice with its own value of a parameter."""
    pieces = []
    for number, value in enumerate(scales):
        span = {"layer_range": [2 * number, 2 * number + 2]}
        models = [{"model": str(trio.rm), **span}, {"model": str(trio.lm), **span}]
        pieces.append({"sources": models, "parameters": {name: value}})
    content = {"merge_method": method, "base_model": str(trio.rm), "slices": pieces}
    return content | ({"parameters": {"weight": 1}} if method == SCALED.name else {})


def test_slices(trio: Trio, tmp_path: Path) -> None:
    """A parameter of the merge may be a slice's own, unless it is one for all tensors."""
    out = merging.merged(tmp_path, sliced(trio, 0, 1, method=SCALED.name, name="scale"))
    rm = merging.tensors(trio.rm)
    changed = {name.split(".")[2] for name in rm if not torch.equal(out[name], rm[name])}
    assert changed >= {"2", "3"} and not changed & {"0", "1"}
    message = merging.refused(tmp_path, sliced(trio, 0, 1, method=DROPPED.name, name="seed"))
    assert "seed is the same for all tensors: write one value above the models" in message


@pytest.mark.parametrize(
    ("weight", "scale", "words"),
    [
        (2.5, 1, "weight 2.5 is not in -2..2: it is the model's part of the change"),
        (1, 5, "parameters: scale 5 is not in 0..4: it is s, the merge's factor"),
        (1, float("nan"), "scale nan is not in 0..4"),
        ("much", 1, "weight 'much' is not a number in -2..2"),
        (1, True, "parameters: scale True is not a number in 0..4"),
        (1, [], "parameters: scale is an empty list"),
        (1, None, "no scale: add `parameters: {scale: 1}` above the models (s, its factor)"),
        (1, [{"filter": "mlp", "value": 1}], "recipe has no scale for model.embed_tokens.weight"),
        ([{"filter": "mlp", "value": 1}], 1, "has no weight for model.embed_tokens.weight"),
        (1, [{"filter": "mpl", "value": 1}, {"value": 0}], "filter 'mpl' matches no tensor"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_values(trio: Trio, tmp_path: Path, weight: Any, scale: Any, words: str) -> None:
    """As linear's are told: what was found, what was expected, the way out."""
    assert words in merging.refused(tmp_path, recipe(trio, weight, scale=scale))


def test_bad_places(trio: Trio, tmp_path: Path) -> None:
    """Misspelt, beside the wrong model, or not there at all; a linear's key is none of its own."""
    content = recipe(trio, 1, scale=1)
    bare = {"model": str(trio.lm)}
    of_reward = {"model": str(trio.rm), "parameters": {"weight": 1}}
    for changes, words in (
        ({"parameters": {"scael": 1}}, "unknown parameter 'scael'; did you mean 'scale'?"),
        ({"parameters": {"own_weight": 1, "scale": 1}}, "unknown parameter 'own_weight'"),
        ({"models": [bare]}, "has no weight: add `parameters: {weight: 1}` to it (its part of"),
        ({"models": [{**bare, "parameters": {"weight": 1, "scale": 1}}]}, "scale is one for"),
        ({"models": [of_reward, *content["models"]]}, "weight is a domain model's: write it there"),
    ):  # fmt: skip
        assert words in merging.refused(tmp_path, content | changes)
    linear = merging.recipe(trio.rm, (trio.lm, 0.3), parameters={"scale": 1})
    assert "unknown parameter 'scale'" in merging.refused(tmp_path, linear)


def test_too_many_domain_models(trio: Trio, tmp_path: Path) -> None:
    """Of a method between two models."""
    message = merging.refused(tmp_path, recipe(trio, 1, 1, scale=1, merge_method=FOR_ONE.name))
    assert f"models: names 2 domain models, and {FOR_ONE.name} takes at most 1" in message


def test_a_method_that_is_not_registered(trio: Trio, tmp_path: Path) -> None:
    """The names that there are include it while it is."""
    message = merging.refused(tmp_path, recipe(trio, 1, scale=1, merge_method=SCALED.name + "s"))
    assert f"{SCALED.name}s; did you mean '{SCALED.name}'?" in message


def test_another_recipe_is_refused(trio: Trio) -> None:
    """In the words of its own parameters."""
    content = recipe(trio, 1, scale=1)
    with pytest.raises(MergeError, match=r"laid out in more than weight, s$"):
        in_memory(content | {"out_dtype": "bfloat16"}, content)


@pytest.mark.parametrize("method", [SCALED, BY_ROW])
def test_aligned_vocabularies(tmp_path: Path, method: Method) -> None:
    """Rows meet by token, of whole tensors and some at a time; a row of one model's stays."""
    rm, _ = tiny.save_pair(tmp_path / "a", "llama", vocab_size=96)
    _, lm = tiny.save_pair(tmp_path / "b", "llama", vocab_size=90)
    merging.save_tokenizer(rm, merging.words(96))
    merging.save_tokenizer(lm, merging.words(90, first=5))
    more = {"tokenizer": {"source": "base"}, "merge_method": method.name}
    content = recipe(Trio(rm, lm, lm), 1.5, scale=0.5, **more)
    out = merging.merged(tmp_path, content)
    assert same(in_memory(content), out)
    mine, theirs = merging.tensors(rm)[ROWS], merging.tensors(lm)[ROWS]
    assert torch.equal(out[ROWS][3:8], mine[3:8])  # w0 to w4: only the reward model's
    expected = mine[8:95] + 0.5 * (1.5 * (theirs[3:90] - mine[8:95]))
    assert torch.equal(out[ROWS][8:95], expected)


def test_random_numbers(trio: Trio, tmp_path: Path) -> None:
    """The seed's and the tensor's: the same by the command and in memory, others with another."""
    content = merging.recipe(trio.rm, (trio.lm, 0))
    content = {**content, "merge_method": DROPPED.name, "models": [{"model": str(trio.lm)}]}
    torch.manual_seed(1)
    out = merging.merged(tmp_path, content)
    assert torch.random.initial_seed() == 1
    assert same(in_memory(content), out)
    other = in_memory(content | {"parameters": {"seed": 1}})
    assert not torch.equal(other[LAYER_2], out[LAYER_2])
    for seed, words in (
        (0.5, "seed 0.5 is not a whole number 0 or more"),
        ([0, 1], "seed is the same for all tensors: write one value above the models"),
        ({"filter": "mlp", "value": 1}, "seed is the same for all tensors"),
    ):
        assert words in merging.refused(tmp_path, content | {"parameters": {"seed": seed}})
    switch = content | {"parameters": {"plain": "no"}}
    assert "plain 'no': expected true or false" in merging.refused(tmp_path, switch)
