"""Who is the reward model, the pretrained base and a domain model; what is refused, in one line."""

import json
import shutil
from pathlib import Path
from typing import Any

import disguise
import forms
import merging
import pytest
import tiny
import torch
from disguise import Family, recipe

from dogerm_plugin.recipe import reward_line

HEAD = "score.weight"
TASK = "reward_preserving_task_arithmetic"
ONE, HALF = {"weight": 1}, {"weight": 0.5}


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> Family:
    return disguise.family(tmp_path_factory.mktemp("roles"), "llama")


@pytest.fixture(scope="module")
def second(of: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another reward model of the base."""
    rm = shutil.copytree(of.rm, tmp_path_factory.mktemp("second") / "rm2")
    tensors = merging.tensors(rm)
    merging.edit(rm, **{HEAD: tensors[HEAD] + 1, "model.norm.weight": tensors["model.norm.weight"]})
    return rm


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_reward_model_is_told_by_its_head(
    of: Family, tmp_path: Path, order: tuple[int, int]
) -> None:
    """Wherever it stands; config, labels and head of the output are its own."""
    models = [(of.rm, ONE), (of.lm, HALF)]
    content = recipe(of.base, *(models[i] for i in order), merge_method=TASK)
    out = merging.merged(tmp_path, content)
    assert torch.equal(out[HEAD], merging.tensors(of.rm)[HEAD]) and "lm_head.weight" not in out
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert reward_line.told((tmp_path / "out" / "mergekit_config.yml").read_text()) == str(of.rm)


def test_an_adapter_is_told_by_the_recipes_own_words(of: Family, tmp_path: Path) -> None:
    """Not by the folder in the cache that the merge is made from."""
    form = forms.FORMS["adapter on the reward model"](tmp_path)
    form = forms.by_task_vectors(form, TASK)
    made = form.recipe(0.5)
    merging.merged(tmp_path, made, "--lora-merge-cache", str(tmp_path / "cache"))
    told = reward_line.told((tmp_path / "out" / "mergekit_config.yml").read_text())
    assert told == made["models"][0]["model"] and "+" in told


def test_a_mark_decides_among_reward_models(of: Family, second: Path, tmp_path: Path) -> None:
    """The other one's body is merged as a domain model's, its head is dropped."""
    models = [(of.rm, ONE), (second, HALF | {"reward": True})]
    out = merging.merged(tmp_path, recipe(of.base, *models, merge_method=TASK))
    assert torch.equal(out[HEAD], merging.tensors(second)[HEAD])


def test_slerp_takes_either_as_base_model(of: Family, tmp_path: Path) -> None:
    """t is the way from base_model to the other one; the head is the same."""
    out = []
    for number, (base, other, t) in enumerate(((of.rm, of.lm, 0.3), (of.lm, of.rm, 0.7))):
        (tmp_path / str(number)).mkdir()
        more = {"merge_method": "reward_preserving_slerp", "parameters": {"t": t}}
        out.append(merging.merged(tmp_path / str(number), recipe(base, (other, {}), **more)))
    assert out[0].keys() == out[1].keys() and torch.equal(out[0][HEAD], out[1][HEAD])
    for name, tensor in out[0].items():
        assert torch.allclose(tensor, out[1][name], atol=1e-6), name


def test_karcher_takes_the_reward_model_anywhere(of: Family, tmp_path: Path) -> None:
    """As base_model or among the models: the same mean."""
    out = []
    for number, (base, models) in enumerate(
        ((of.rm, [(of.lm, {})]), (None, [(of.rm, {}), (of.lm, {})]))
    ):
        (tmp_path / str(number)).mkdir()
        content = recipe(base, *models, merge_method="reward_preserving_karcher")
        out.append(merging.merged(tmp_path / str(number), content))
    assert all(torch.allclose(out[0][name], out[1][name], atol=1e-6) for name in out[0])


def changed(of: Family, second: Path, case: str) -> dict[str, Any]:
    """A recipe with one mistake."""
    models = [(of.rm, ONE), (of.lm, HALF)]
    made = recipe(of.base, *models, merge_method=TASK)
    of_all = {"no reward model": [(of.lm, ONE), (of.other, HALF)], "two": [*models, (second, HALF)]}
    if case in of_all:
        return recipe(of.base, *of_all[case], merge_method=TASK)
    if case == "no base":
        del made["base_model"]
    elif case == "base is the reward model":
        return recipe(of.rm, (of.lm, ONE), (of.other, HALF), merge_method=TASK)
    elif case == "only one":
        return recipe(of.base, (of.rm, ONE), merge_method=TASK)
    elif case == "weight of the base":
        made["models"].append({"model": str(of.base), "parameters": {"weight": 1}})
    elif case == "no weight of the reward model":
        del made["models"][0]["parameters"]
    elif case == "marked language model":
        made["models"][1]["parameters"] = HALF | {"reward": True}
    elif case == "mark above":
        made["parameters"] = {"reward": True}
    elif case == "density":
        made["merge_method"] = "reward_preserving_ties"
        made["models"][1]["parameters"] = HALF | {"density": 1.5}
    elif case == "unknown":
        made["merge_method"] = "reward_preserving_ties"
        made["models"][1]["parameters"] = HALF | {"densty": 0.5}
    elif case == "density of a method that drops nothing":
        made["models"][1]["parameters"] = HALF | {"density": 0.5}
    elif case == "seed of a method that draws none":
        made["parameters"] = {"seed": 1}
    elif case == "spread":
        made = recipe(of.base, *((m, p | {"density": 0.9}) for m, p in models))
        made["merge_method"] = "reward_preserving_della"
    elif case == "three for slerp":
        made |= {"merge_method": "reward_preserving_slerp", "base_model": str(of.rm)}
        made["models"] = [{"model": str(m)} for m in (of.lm, of.other)]
        made["parameters"] = {"t": 0.5}
    elif case == "t":
        made |= {"merge_method": "reward_preserving_slerp", "base_model": str(of.rm)}
        made |= {"models": [{"model": str(of.lm)}], "parameters": {"t": 1.2}}
    elif case == "tokenizer of another":
        made["tokenizer"] = {"source": str(of.lm)}
    elif case == "mark with linear":
        made = merging.recipe(of.rm, (of.lm, 0.3))
        made["models"][0]["parameters"]["reward"] = True
    return made


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no reward model", "has a reward head, linear layers from the hidden size to one number"),
        ("two", "rm2 have a reward head: write `parameters: {reward: true}` beside the one whose"),
        ("no base", "no base_model: it names the pretrained base, which the reward model and"),
        ("base is the reward model", "has a reward head, and reward_preserving_task_arithmetic"),
        ("only one", "merges a reward model and a domain model: add the other one"),
        ("weight of the base", "weight is a domain model's: write it there"),
        ("no weight of the reward model", "rm has no weight: add `parameters: {weight: 1}` to it"),
        ("marked language model", "stands beside it, and it has no reward head"),
        ("mark above", "reward: stands above the models: write it beside one of them"),
        ("density", "density 1.5 is not in 0..1: it is the model's share of the changes"),
        ("density of a method that drops nothing", "unknown parameter 'density'; known are"),
        ("unknown", "unknown parameter 'densty'; did you mean 'density'?"),
        ("seed of a method that draws none", "unknown parameter 'seed'"),
        ("spread", "density 0.9 with epsilon 0.15: density ± epsilon must lie within 0..1"),
        ("three for slerp", "names 2 domain models, and reward_preserving_slerp takes at most 1"),
        ("t", "t 1.2 is not in 0..1: it is the merge's way from base_model (0) to the other"),
        ("tokenizer of another", "use base (the reward model's tokens) or union (all)"),
        ("mark with linear", "unknown parameter 'reward'"),
    ],
)
def test_refused(of: Family, second: Path, tmp_path: Path, case: str, words: str) -> None:
    """What was found, and the way out."""
    assert words in merging.refused(tmp_path, changed(of, second, case))


def test_unlike_base_vocabulary(tmp_path: Path) -> None:
    """The base is among those that are compared."""
    rm, lm = tiny.save_pair(tmp_path, "llama")
    tiny.save_language_model(tmp_path / "base", "llama", 3)
    for path, first in ((rm, 0), (lm, 0), (tmp_path / "base", 1)):
        merging.save_tokenizer(path, merging.words(96, first=first))
    content = recipe(tmp_path / "base", (rm, ONE), (lm, HALF), merge_method=TASK)
    message = merging.refused(tmp_path, content)
    assert "the vocabularies differ in" in message and str(tmp_path / "base") in message


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_ties"])
def test_tokens_that_the_base_lacks(tmp_path: Path, method: str) -> None:
    """They have no task vector: the reward model's row is kept, or that of the one who has it."""
    rows = "model.embed_tokens.weight"
    rm, lm = tiny.save_pair(tmp_path, "llama")
    tiny.save_language_model(tmp_path / "base", "llama", 3, vocab_size=90)
    for path, words, added in (
        (rm, merging.words(95), ("<rm>",)),
        (lm, merging.words(94), ("<both>", "<lm>")),
        (tmp_path / "base", merging.words(90), ()),
    ):
        merging.save_tokenizer(path, words, added)
    models = [(rm, ONE), (lm, HALF)]
    more = {"merge_method": f"reward_preserving_{method}", "tokenizer": {"source": "union"}}
    out = merging.merged(tmp_path, recipe(tmp_path / "base", *models, **more))
    mine, theirs, base = (merging.tensors(one)[rows] for one in (rm, lm, tmp_path / "base"))
    assert torch.equal(out[rows][90:96], mine[90:96])  # words that the base lacks, and <rm>
    assert len(out[rows]) == 98
    assert {tuple(row.tolist()) for row in out[rows][96:]} == {
        tuple(row.tolist()) for row in theirs[94:96]
    }
    if method == "task_arithmetic":
        deltas = torch.stack([mine[:90] - base, 0.5 * (theirs[:90] - base)])
        assert torch.equal(out[rows][:90], base + deltas.sum(0))
