"""Every method of mergekit's for the body of a reward model: its own numbers, the head kept."""

from pathlib import Path
from typing import Any

import disguise
import forms
import merging
import pytest
import tiny
import torch
from disguise import Family
from mergekit.config import MergeConfiguration
from mergekit.merge_methods import easy_define, registered_methods
from mergekit.merge_methods import registry as host_registry
from mergekit.merge_methods.base import TensorGroup
from mergekit.options import MergeOptions
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.declaration import PREFIX, Role
from dogerm_plugin.methods.hosted import HostedMethod
from dogerm_plugin.run.in_memory import Merges

TYPES = ("llama", "gemma2", "qwen2")
HEAD = "score.weight"
# Values unlike each method's defaults; what is not here has none that must be given.
PER_MODEL = {"weight": (0.9, 0.6, 0.4), "density": (0.7, 0.5, 0.4)}
OF_MERGE = {"t": 0.3, "select_topk": 0.5, "lambda": 0.8}


def hosts() -> list[str]:
    """Those of mergekit that draw no random numbers with these parameters."""
    methods = [one for one in registered_methods() if not isinstance(one, HostedMethod)]
    return sorted(one.spec.name for one in methods)


@pytest.fixture(
    scope="module",
    params=[TYPES[0], *(pytest.param(one, marks=pytest.mark.slow) for one in TYPES[1:])],
)
def of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Models of one family."""
    return disguise.family(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Family:
    """The first of them."""
    return disguise.family(tmp_path_factory.mktemp("llama"), "llama")


def pair_of_merges(
    folder: Path, of: Family, recipe: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A recipe by this project, and by mergekit for the reward model in disguise."""
    ours = merging.merged(folder, recipe)
    (folder / "host").mkdir()
    return ours, disguise.by_mergekit(folder / "host", of, recipe)


def differing(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> set[str]:
    """Names of the body's tensors that are not equal."""
    body = ours.keys() - {HEAD}
    assert body and body <= theirs.keys()
    return {name for name in body if not torch.equal(ours[name], theirs[name])}


def content(name: str, of: Family, sparse: bool = True) -> dict[str, Any]:
    """A recipe with as many models as the method takes, up to two domain models."""
    method = registry.of(name)
    most = method.most_domain_models
    domain = [of.lm, of.other][: 2 if most is None else most]
    if method.one_model_each:
        domain = []
    places = [of.rm, *domain]
    known = method.by_name
    each = [
        {key: v[i] for key, v in PER_MODEL.items() if key in known and (sparse or key == "weight")}
        for i in range(len(places))
    ]
    base = of.base if method.base is Role.PRETRAINED and method.base_required else None
    if method.base is None and method.base_required:
        base = places[0]
    shared = {key: value for key, value in OF_MERGE.items() if key in known}
    more = {"parameters": shared} if shared else {}
    return disguise.recipe(base, *zip(places, each, strict=True), merge_method=name, **more)


@pytest.mark.parametrize("host", hosts())
def test_equal_to_mergekits_own(of: Family, tmp_path: Path, host: str) -> None:
    """The body is what mergekit writes for the reward model disguised as a language model."""
    if host == "linear":
        pytest.skip("this project's own method has another meaning of weight")
    random = registry.of(PREFIX + host).random
    recipe = content(PREFIX + host, of, sparse=not random or "breadcrumbs" in host)
    ours, theirs = pair_of_merges(tmp_path, of, recipe)
    assert torch.equal(ours[HEAD], merging.tensors(of.rm)[HEAD])
    assert differing(ours, theirs) == set()


@pytest.mark.parametrize("host", hosts())
def test_filters_and_gradients_of_every_number(tmp_path: Path, llama: Family, host: str) -> None:
    """Wherever mergekit takes them: equal to its own, layer by layer and part by part."""
    name = PREFIX + host
    method = registry.of(name)
    if host == "linear" or (method.random and "weight" in method.by_name):
        pytest.skip("this project's own meaning, or numbers drawn from another generator")
    recipe = content(name, llama)
    for one in recipe["models"]:
        if "weight" in one.get("parameters", {}):
            one["parameters"]["weight"] = [{"filter": ".mlp.", "value": [0.2, 0.9]}, {"value": 0.5}]
        if "density" in one.get("parameters", {}):
            one["parameters"]["density"] = [0.3, 0.9, 0.5]
        if "scale" in method.by_name:
            one["parameters"] = {"scale": [{"filter": "self_attn", "value": 0.5}]}
    shared = recipe.setdefault("parameters", {})
    for key in ("t", "lambda"):
        if key in shared:
            shared[key] = [{"filter": "layers.1.", "value": 0.7}, {"value": [0.1, 0.6]}]
    ours, theirs = pair_of_merges(tmp_path, llama, recipe)
    assert differing(ours, theirs) == set()


def test_layers_of_two_models_stacked(tmp_path: Path, llama: Family) -> None:
    """passthrough: a deeper reward model, its ends where mergekit has them, its own head."""
    sources = [(llama.rm, (0, 3)), (llama.lm, (1, 4))]
    recipe = {
        "merge_method": "reward_preserving_passthrough",
        "slices": [
            {"sources": [{"model": str(model), "layer_range": [*span]}]} for model, span in sources
        ],
    }
    ours = merging.merged(tmp_path, recipe)
    (tmp_path / "host").mkdir()
    plain = {**recipe, "merge_method": "passthrough"}
    plain["slices"][0]["sources"][0]["model"] = str(llama.disguised)
    theirs = merging.merged(tmp_path / "host", plain)
    assert differing(ours, theirs) == set()
    assert torch.equal(ours[HEAD], merging.tensors(llama.rm)[HEAD])
    last = [merging.tensors(llama.lm)["model.norm.weight"], ours["model.norm.weight"]]
    assert torch.equal(*last) and "model.layers.5.mlp.up_proj.weight" in ours


def test_slices_with_task_vectors(tmp_path: Path, llama: Family) -> None:
    """Layers may move; every slice has the base, the reward model and a domain model."""
    pieces = []
    for span in ((0, 2), (1, 4)):
        models = [(llama.base, {}), (llama.rm, {"weight": 1}), (llama.lm, {"weight": 0.5})]
        sources = [
            {"model": str(model), "layer_range": [*span], "parameters": own}
            for model, own in models
        ]
        pieces.append({"sources": sources})
    recipe = {"merge_method": "reward_preserving_task_arithmetic", "base_model": str(llama.base)}
    ours = merging.merged(tmp_path, recipe | {"slices": pieces})
    assert "model.layers.4.mlp.up_proj.weight" in ours
    base, rm, lm = (merging.tensors(one) for one in (llama.base, llama.rm, llama.lm))
    source, target = "model.layers.1.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight"
    deltas = torch.stack([rm[source] - base[source], 0.5 * (lm[source] - base[source])])
    assert torch.equal(ours[target], base[source] + deltas.sum(0))
    pieces[1]["sources"][2]["parameters"] = {"weight": 0.7}
    (tmp_path / "last").mkdir()
    ours = merging.merged(tmp_path / "last", recipe | {"slices": pieces})
    norm = "model.norm.weight"  # of the last slice, as mergekit has it
    deltas = torch.stack([rm[norm] - base[norm], 0.7 * (lm[norm] - base[norm])])
    assert torch.equal(ours[norm], base[norm] + deltas.sum(0))


def test_unmerged_tensors_stay_the_reward_models(tmp_path: Path, llama: Family) -> None:
    """By a filter, or all of them: whatever the method does."""
    recipe = content("reward_preserving_dare_ties", llama)
    recipe["parameters"] |= {"unmerged": [{"filter": "layers.1.", "value": True}]}
    reward, some = merging.tensors(llama.rm), merging.merged(tmp_path, recipe)
    same = {name for name in reward if torch.equal(reward[name], some[name])}
    assert same == {HEAD, *(name for name in reward if "layers.1." in name)}
    recipe["parameters"]["unmerged"] = True
    (tmp_path / "all").mkdir()
    assert not differing(merging.merged(tmp_path / "all", recipe), reward)


def test_a_head_whose_name_is_part_of_a_body_tensors(tmp_path: Path) -> None:
    """`proj.weight` is the head and `q_proj.weight` is merged: names are compared whole."""
    form = forms.own_code(tmp_path, head="proj")
    form = forms.by_task_vectors(form, "reward_preserving_task_arithmetic")
    name = "model.layers.1.self_attn.q_proj.weight"
    rm, lm = (Path(one["model"]) for one in form.content["models"])
    merging.edit(lm, **{name: merging.tensors(lm)[name] + 0.01})
    config = MergeConfiguration.model_validate(form.recipe(0.5))
    out = dict(Merges(config, MergeOptions(quiet=True, **form.options)).tensors(config))
    mine, theirs, start = map(merging.tensors, (rm, lm, Path(form.content["base_model"])))
    deltas = torch.stack([mine[name] - start[name], 0.5 * (theirs[name] - start[name])])
    assert torch.equal(out[name], start[name] + deltas.sum(0))
    assert torch.equal(out["proj.weight"], mine["proj.weight"])


@pytest.mark.parametrize("base", ["text", "multimodal"])
def test_a_tower_that_not_all_have(tmp_path: Path, base: str) -> None:
    """Of a multimodal reward model: its own, whichever of the others has one."""
    rm, _ = tiny.save_pair(tmp_path, "gemma3")
    whole = tiny.tiny_config("gemma3")
    text = whole.get_text_config()
    tiny.save_random(tmp_path / "text", AutoModelForCausalLM, text, 1)
    if base == "multimodal":
        tiny.save_random(tmp_path / "base", AutoModelForImageTextToText, whole, 3)
    else:
        tiny.save_random(tmp_path / "base", AutoModelForCausalLM, text, 3)
    models = [(rm, {"weight": 0.5}), (tmp_path / "text", {"weight": 0.5})]
    recipe = disguise.recipe(
        tmp_path / "base", *models, merge_method="reward_preserving_task_arithmetic"
    )
    out, mine = merging.merged(tmp_path, recipe), merging.tensors(rm)
    towers = [name for name in mine if "vision" in name or "projector" in name]
    assert all(torch.equal(out[name], mine[name]) for name in towers)
    assert any(not torch.equal(out[name], mine[name]) for name in mine)


def test_a_method_that_uses_our_words(llama: Family) -> None:
    """Another package's parameter `reward` would be ours: it is not wrapped, others are."""

    @easy_define.merge_method(name="own_reward")
    def own_reward(group: TensorGroup, reward: float = 1.0) -> torch.Tensor:
        return group.entries[0].tensor * reward

    host_registry.register(own_reward)
    try:
        assert "reward_preserving_own_reward" not in registry.names()
        assert "reward_preserving_ties" in registry.names()
        with pytest.raises(MergeError, match="unknown merge_method reward_preserving_own_reward"):
            registry.of("reward_preserving_own_reward")
    finally:
        del host_registry._METHODS["own_reward"]
