"""What is merged in memory is, to the byte, what mergekit-yaml writes."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forms
import merging
import pytest
import torch
from forms import Form
from mergekit.config import MergeConfiguration
from mergekit.io.tasks import LoaderCache
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
from merging import Trio

from dogerm_plugin.errors import MergeError
from dogerm_plugin.run.in_memory import Merges
from tests import warm

Tensors = dict[str, torch.Tensor]


def configuration(content: dict) -> MergeConfiguration:
    return MergeConfiguration.model_validate(content)


def merges_of(form: Form) -> Merges:
    return Merges(configuration(form.recipe(0.0)), MergeOptions(quiet=True, **form.options))


def in_memory(merges: Merges, form: Form, weight: float) -> Tensors:
    return dict(merges.tensors(configuration(form.recipe(weight))))


def written(form: Form, weight: float, out: Path) -> Tensors:
    """The tensors of a merge that was written to a folder."""
    options = MergeOptions(quiet=True, **form.options)
    run_merge(configuration(form.recipe(weight)), str(out), options)
    return merging.tensors(out)


def check_same(found: Tensors, expected: Tensors) -> None:
    """Names, dtypes, shapes and bytes."""
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        raw = (one.contiguous().view(-1).view(torch.uint8) for one in (found[name], tensor))
        assert torch.equal(*raw), name


@pytest.mark.parametrize("name", forms.FORMS)
def test_every_form_to_the_byte(name: str, tmp_path: Path) -> None:
    form = forms.FORMS[name](tmp_path)
    check_same(in_memory(merges_of(form), form, 0.3), written(form, 0.3, tmp_path / "out"))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("bfloat16", "ties"),
        ("mixed dtypes", "della_linear"),
        ("sharded", "task_arithmetic"),
        ("pickled", "dare_ties"),
        ("tied", "breadcrumbs_ties"),
        ("experts joined in the reward model", "ties"),
        ("multimodal", "task_arithmetic"),
        ("value head", "della"),
        ("own code", "ties"),
        ("padded, more rows", "dare_linear"),
        ("tokenizer base", "task_arithmetic"),
        ("tokenizer union, bfloat16", "dare_ties"),
        ("adapter", "ties"),
        ("adapter on the reward model", "task_arithmetic"),
        ("two domain models", "ties"),
        ("filters", "breadcrumbs"),
        ("gradient", "dare_linear"),
    ],
)
def test_forms_by_task_vectors(name: str, method: str, tmp_path: Path) -> None:
    """The pretrained base is one more model in every form; random numbers are the recipe's."""
    form = forms.by_task_vectors(forms.FORMS[name](tmp_path), f"reward_preserving_{method}")
    found = in_memory(merges_of(form), form, 0.3)
    check_same(found, written(form, 0.3, tmp_path / "out"))


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer union",
        pytest.param("bfloat16 and float32", marks=pytest.mark.slow),
        pytest.param("experts joined in the reward model", marks=pytest.mark.slow),
    ],
)
def test_the_command_writes_the_same(name: str, tmp_path: Path) -> None:
    """mergekit-yaml in a process of its own, with its own order of hashes."""
    form = forms.FORMS[name](tmp_path)
    recipe = merging.write(tmp_path, form.recipe(0.3))
    running = warm.Process("mergekit-yaml", recipe, tmp_path / "out")
    found = in_memory(merges_of(form), form, 0.3)
    _, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    check_same(found, merging.tensors(tmp_path / "out"))


def test_one_weight_after_another(tmp_path: Path) -> None:
    """Forth and back, of two domain models; no plan is kept, whose tasks are many."""
    form = forms.two_models(tmp_path)
    merges = merges_of(form)
    for weight in (0.3, 0.6, 0.3, 0.0):
        check_same(in_memory(merges, form, weight), written(form, weight, tmp_path / "out"))
    reward = merging.tensors(tmp_path / "rm")
    found = in_memory(merges, form, 0.0)
    assert MergePlanner._model_arch.cache_info().currsize == 0
    assert all(torch.equal(found[name], tensor) for name, tensor in reward.items())


def test_other_merges_may_run_between_two_tensors(tmp_path: Path) -> None:
    """Each sees its own models, mergekit's plain methods the plain ones."""
    first, second = forms.pair(tmp_path / "1"), forms.pair(tmp_path / "2", torch.bfloat16)
    # one domain model, seen by one recipe under other names than by the other
    one, other = forms.simple(first), forms.value_head(tmp_path / "3")
    other.content["models"] = one.content["models"]
    expected = [written(form, 0.3, tmp_path / "out") for form in (one, other)]
    found: list[Tensors] = [{}, {}]
    steps = [merges_of(form).tensors(configuration(form.recipe(0.3))) for form in (one, other)]
    for number in range(6):
        for tensors, step in zip(found, steps, strict=True):
            tensors.update([next(step)])
        if number == 3:
            plain = merging.recipe(second[1], (second[1], 1.0)) | {"merge_method": "linear"}
            run_merge(configuration(plain), str(tmp_path / "plain"), MergeOptions(quiet=True))
            assert "lm_head.weight" in merging.tensors(tmp_path / "plain")
    for tensors, step, right in zip(found, steps, expected, strict=True):
        check_same(tensors | dict(step), right)


def test_threads(tmp_path: Path) -> None:
    """Two recipes at once in one process, laid out one after the other."""
    made = [forms.stored("float32")(tmp_path / "1"), forms.experts("rm")(tmp_path / "2")]
    expected = [written(form, 0.3, tmp_path / "out") for form in made]
    merges = list(map(merges_of, made))
    with ThreadPoolExecutor(2) as pool:
        for found, right in zip(
            pool.map(in_memory, merges, made, (0.3, 0.3)), expected, strict=True
        ):
            check_same(found, right)


@pytest.mark.parametrize("name", ["sharded", "pickled"])
def test_left_half_way(name: str, tmp_path: Path) -> None:
    """No file stays mapped, nothing is left in mergekit's cache, and the next one is whole."""
    form = forms.FORMS[name](tmp_path)
    before = dict(LoaderCache.loaders)
    merges = merges_of(form)
    step = merges.tensors(configuration(form.recipe(0.3)))
    assert next(step) and next(step)
    step.close()
    assert LoaderCache().loaders is LoaderCache.loaders and LoaderCache.loaders == before
    if os.path.exists("/proc/self/maps"):
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    check_same(in_memory(merges, form, 0.3), written(form, 0.3, tmp_path / "out"))


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    """What was laid out is these models; filters and gradients are weights too."""
    form = forms.simple(forms.pair(tmp_path))
    merges = merges_of(form)
    for changes in ({"out_dtype": "bfloat16"}, {"tokenizer": {"source": "base"}}):
        with pytest.raises(MergeError, match="differs from the one that was laid out"):
            next(merges.tensors(configuration(form.recipe(0.3) | changes)))


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (1.2, "weight 1.2 is not in 0..1"),
        ([{"filter": "mpl", "value": 0.2}, {"value": 0}], "matches no tensor"),
        ([{"filter": "mlp", "value": 0.2}], "has no weight for"),
    ],
)
def test_weights_that_are_none(weight: Any, words: str, tmp_path: Path) -> None:
    """As mergekit-yaml tells it, before any tensor."""
    form = forms.simple(forms.pair(tmp_path))
    merges = merges_of(form)
    form.weights = lambda _: [weight]
    with pytest.raises(MergeError, match=words):
        next(merges.tensors(configuration(form.recipe(0.3))))


def test_damage_is_told_as_by_the_command(tmp_path: Path) -> None:
    """NaN half-way, and a number that the output's dtype can't hold."""
    rm, lm = forms.pair(tmp_path)
    form = forms.simple((rm, lm), out_dtype="float16")
    name = "model.layers.2.mlp.up_proj.weight"
    whole = merging.tensors(lm)[name]
    for factor, words in (
        (float("nan"), f"{lm}: NaN or Inf in tensor {name}"),
        (1e8, f"{name} does not fit torch.float16"),
    ):
        merging.edit(lm, **{name.replace(".", "__"): whole * factor})
        merges = merges_of(form)
        with pytest.raises(MergeError, match=words):
            in_memory(merges, form, 0.3)
    assert LoaderCache().loaders is LoaderCache.loaders


@pytest.mark.parametrize(
    ("more", "keeps"),
    [
        ({}, True),
        ({"dtype": "bfloat16"}, True),
        ({"tokenizer": {"source": "base"}}, True),
        ({"tokenizer": {"source": "union"}}, False),
        ({"tokenizer": {"source": "base", "pad_to_multiple_of": 64}}, False),
        ({"chat_template": "chatml"}, False),
    ],
    ids=str,
)
def test_whose_output_is_the_reward_model_with_another_body(
    more: dict, keeps: bool, trio: Trio
) -> None:
    """All but the body is the reward model's own checkpoint's."""
    config = configuration(merging.recipe(trio.rm, (trio.lm, 0.3), **more))
    assert Merges(config).keeps_all_but_the_body is keeps


def test_the_reward_models_own_body(trio: Trio) -> None:
    """By the names of a merge, to the bit."""
    config = configuration(merging.recipe(trio.rm, (trio.lm, 0.3)))
    merges = Merges(config)
    own = merging.tensors(trio.rm)
    found = dict(merges.unmerged())
    assert found.keys() == dict(merges.tensors(config)).keys() - {merging.HEAD}
    assert all(torch.equal(tensor, own[name]) for name, tensor in found.items())
