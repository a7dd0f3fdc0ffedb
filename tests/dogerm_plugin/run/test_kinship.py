# SPDX-License-Identifier: Apache-2.0
"""Models of one base are merged, strangers are refused, and what is between is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import forms
import merging
import pytest
import tiny
import torch
from click.testing import CliRunner
from mergekit.config import MergeConfiguration
from mergekit.io.tasks import LoaderCache
from mergekit.options import MergeOptions
from mergekit.scripts.run_yaml import main
from merging import Trio

from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe.configuration import prepared
from dogerm_plugin.run.in_memory import Merges
from dogerm_plugin.run.kinship import Kinship
from dogerm_plugin.run.merge import compare_first
from dogerm_plugin.run.prepare import Prepared, prepare
from dogerm_plugin.run.sample import take

State = dict[str, torch.Tensor]
Q, GATE = "model.layers.{}.self_attn.q_proj.weight", "model.layers.{}.mlp.gate_proj.weight"
ALLOWED = {"parameters": {"allow_unrelated": True}}


def change(folder: Path, how: Callable[[State], State]) -> None:
    state = merging.tensors(folder)
    forms.store(folder, {name: tensor.clone() for name, tensor in (state | how(state)).items()})


def of_another_base(state: State) -> State:
    torch.manual_seed(5)
    return {n: t.std() * torch.randn_like(t) for n, t in state.items() if t.ndim > 1}


def trained_on(state: State) -> State:
    torch.manual_seed(5)
    return {n: t + t.std() * torch.randn_like(t) for n, t in state.items() if t.ndim > 1}


def neurons(state: State) -> State:
    """The function stays the same, the order of what is inside does not."""
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1))
    found = {}
    for n, t in state.items():
        if "gate_proj" in n or "up_proj" in n:
            found[n] = t[order]
        elif "down_proj" in n:
            found[n] = t[:, order]
    return found


def two_heads(state: State) -> State:
    name = Q.format(1)
    return {name: state[name].view(4, 8, 32)[[1, 0, 2, 3]].reshape(32, 32)}


def two_layers(state: State) -> State:
    swapped = {"1": "2", "2": "1"}
    parts = {n: n.split(".") for n in state if ".layers." in n}
    moved = {n: ".".join([*p[:2], swapped.get(p[2], p[2]), *p[3:]]) for n, p in parts.items()}
    return {new: state[n] for n, new in moved.items()}


def transposed(state: State) -> State:
    return {Q.format(3): state[Q.format(3)].T}


def rows_of_the_vocabulary(state: State) -> State:
    return {"model.embed_tokens.weight": state["model.embed_tokens.weight"].flip(0)}


STRANGERS = {
    "another base": (of_another_base, "model.embed_tokens.weight"),
    "neurons": (neurons, "model.layers.0.mlp.down_proj.weight"),
    "heads": (two_heads, Q.format(1)),
    "layers": (two_layers, "model.layers.1."),
    "transposed": (transposed, Q.format(3)),
    "rows": (rows_of_the_vocabulary, "model.embed_tokens.weight"),
}


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("weight", [0.3, 0])
def test_strangers_are_refused(own_trio: Trio, tmp_path: Path, kind: str, weight: float) -> None:
    """Equal names, shapes and vocabularies: the tensor, the figure, the way out; no output."""
    how, name = STRANGERS[kind]
    change(own_trio.lm, how)
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, weight))
    message = merging.refused(tmp_path, recipe)
    assert name in message and str(own_trio.lm) in message and "cosine" in message
    assert "allow_unrelated: true" in message
    assert not (tmp_path / "out").exists()


def test_who_knows_better_merges_and_is_told(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The switch above the models, or on the one that it is about."""
    change(own_trio.lm, of_another_base)
    pair = (own_trio.lm, 0.3), (own_trio.other, 0.2)
    merging.merged(tmp_path, merging.recipe(own_trio.rm, *pair, **ALLOWED))
    assert "are no relatives of the reward model's" in caplog.text
    recipe = merging.recipe(own_trio.rm, *pair)
    recipe["models"][0]["parameters"]["allow_unrelated"] = True
    merging.merged(tmp_path, recipe)
    del recipe["models"][0]["parameters"]["allow_unrelated"]
    recipe["models"][1]["parameters"]["allow_unrelated"] = True
    assert str(own_trio.lm) in merging.refused(tmp_path, recipe)


@pytest.mark.parametrize("value", ["maybe", 2, [], {}])
def test_a_switch_that_is_no_switch(trio: Trio, tmp_path: Path, value: object) -> None:
    recipe = merging.recipe(trio.rm, (trio.lm, 0.3), parameters={"allow_unrelated": value})
    assert "allow_unrelated" in merging.refused(tmp_path, recipe)


def test_an_earlier_output_stays(own_trio: Trio, tmp_path: Path) -> None:
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, 0.3))
    merging.merged(tmp_path, recipe)
    before = merging.digest(tmp_path / "out")
    change(own_trio.lm, transposed)
    merging.refused(tmp_path, recipe)
    assert merging.digest(tmp_path / "out") == before


def test_far_relatives_are_said(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A base that was trained on for long: cosines of about .7 are a warning with figures."""
    change(
        own_trio.lm,
        lambda state: {
            n: t + t.std() * torch.randn_like(t) for n, t in state.items() if t.ndim > 1
        },
    )
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))
    assert "29 of 29 matrices are far from the reward model's" in caplog.text
    assert re.search(r"mean cosine 0\.(69|7[01])", caplog.text)


def test_near_relatives_are_not(
    trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    merging.merged(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3), (trio.other, 0.2)))
    assert not caplog.text


def test_the_last_line_says_how_near(trio: Trio, tmp_path: Path) -> None:
    """For each domain model the mean and the least cosine, and where that is."""
    path = merging.write(tmp_path, merging.recipe(trio.rm, (trio.lm, 0.3), (trio.other, 0.2)))
    result = CliRunner().invoke(main, [str(path), str(tmp_path / "out")])
    last = result.output.splitlines()[-1]
    for model in (trio.lm, trio.other):
        assert f"cosine to {model} 0.99" in last
    assert "(least 0.9" in last and "head kept: score.weight; " in last


def test_matrices_that_began_at_zero_may_differ(own_trio: Trio, tmp_path: Path) -> None:
    """What each model trained from nothing is small, and no sign of another base."""
    for seed, folder in enumerate((own_trio.rm, own_trio.lm)):
        own = torch.Generator().manual_seed(seed)
        small = torch.randn(32, 32, generator=own) / 1e4
        merging.edit(folder, **{Q.format(1).replace(".", "__"): small})
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))


def test_zeros_against_a_real_matrix(own_trio: Trio, tmp_path: Path) -> None:
    change(own_trio.lm, lambda state: {Q.format(2): 0 * state[Q.format(2)]})
    message = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))
    assert Q.format(2) in message and "0.000" in message


def test_zeros_in_both(own_trio: Trio, tmp_path: Path) -> None:
    for folder in (own_trio.rm, own_trio.lm):
        change(folder, lambda state: {Q.format(2): 0 * state[Q.format(2)]})
    merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, 0.3)))


def test_slices_compare_what_they_merge(trio: Trio, tmp_path: Path) -> None:
    """Layers of other numbers are strangers; of a deeper output, all layers are looked at."""
    recipe = merging.recipe(trio.rm)
    del recipe["models"]
    mine, theirs = {"model": str(trio.rm)}, {"model": str(trio.lm), "parameters": {"weight": 0.3}}
    pieces = [([0, 3], [0, 3]), ([1, 4], [0, 3])]
    recipe["slices"] = [
        {"sources": [mine | {"layer_range": a}, theirs | {"layer_range": b}]} for a, b in pieces
    ]
    message = merging.refused(tmp_path, recipe)
    assert "model.layers.3." in message and "(as model.layers.0." in message


@pytest.mark.parametrize("source", ["base", "union"])
def test_aligned_rows_are_compared_by_token(tmp_path: Path, source: str) -> None:
    rm, lm = tiny.save_pair(tmp_path, "llama")
    merging.save_tokenizer(rm, merging.words(96))
    merging.save_tokenizer(lm, merging.words(96, first=5))
    recipe = merging.recipe(rm, (lm, 0.3), tokenizer={"source": source})
    merging.merged(tmp_path, recipe)
    change(lm, rows_of_the_vocabulary)
    assert "model.embed_tokens.weight" in merging.refused(tmp_path, recipe)


@pytest.mark.parametrize("form", ["pickled", "experts joined in the domain model", "bfloat16"])
def test_whatever_the_form(form: str, tmp_path: Path) -> None:
    """A third model, a stranger, in a checkpoint of this form."""
    made = forms.FORMS[form](tmp_path)
    content = made.recipe(0.3)
    merging.merged(tmp_path, content)
    lm = Path(content["models"][0]["model"])
    stranger = {n: torch.randn_like(t) / 50 for n, t in merging.tensors(lm).items()}
    for file in [*lm.glob("*.safetensors"), *lm.glob("*.bin")]:
        file.unlink()
    forms.store(lm, stranger)
    merging.refused(tmp_path, content)


def test_one_expert_of_a_layer(tmp_path: Path) -> None:
    rm, lm = tiny.save_pair(tmp_path, "mixtral")
    name = next(n for n in merging.tensors(lm) if "layers.2." in n and ".3.w1" in n)
    change(lm, lambda state: {name: torch.randn_like(state[name]) / 50})
    assert name in merging.refused(tmp_path, merging.recipe(rm, (lm, 0.3)))


def test_in_memory_once(own_trio: Trio, caplog: pytest.LogCaptureFixture) -> None:
    """A sweep's merges: refused at the first, warned of once."""

    def merges() -> tuple[Merges, Callable[[float], None]]:
        def config(weight: float) -> MergeConfiguration:
            recipe = merging.recipe(own_trio.rm, (own_trio.lm, weight))
            return MergeConfiguration.model_validate(recipe)

        made = Merges(config(0.0))
        return made, lambda weight: [None for _ in made.tensors(config(weight))]  # type: ignore

    change(
        own_trio.lm,
        lambda state: {
            n: t + t.std() * torch.randn_like(t) for n, t in state.items() if t.ndim > 1
        },
    )
    _, merge = merges()
    for weight in (0.0, 0.5, 1.0):
        merge(weight)
    assert caplog.text.count("are far from the reward model's") == 1
    change(own_trio.lm, transposed)
    with pytest.raises(MergeError, match=r"layers\.3\.self_attn\.q_proj"):
        merges()[1](0.0)


def test_before_a_merge_by_mergekits_own_executor(own_trio: Trio) -> None:
    """On several GPUs the inputs are looked at first; no accelerator is needed for that."""
    ready = prepared_merge(own_trio)
    kinship = Kinship.of(ready.layout, ready.method)
    compare_first(kinship, ready)
    kinship.conclude()
    assert len(kinship.comparisons[ready.layout.others[0].model]) == 29
    LoaderCache.loaders.clear()
    change(own_trio.lm, transposed)
    ready = prepared_merge(own_trio)
    with pytest.raises(MergeError, match=r"layers\.3\.self_attn\.q_proj"):
        compare_first(Kinship.of(ready.layout, ready.method), ready)
    LoaderCache.loaders.clear()


def prepared_merge(trio: Trio) -> Prepared:
    recipe = MergeConfiguration.model_validate(merging.recipe(trio.rm, (trio.lm, 0.3)))
    return prepare(prepared(recipe), MergeOptions(quiet=True))


def test_the_sample() -> None:
    """A constant part in common is no kinship; two swapped heads are found beside near ones."""
    torch.manual_seed(0)
    a, b = torch.randn(2, 640, 576)
    assert abs(take(a + 3, b + 3).cosine) < 0.05  # type: ignore[union-attr]
    near = a + 0.05 * b
    assert take(a, near).cosine > 0.99  # type: ignore[union-attr]
    assert take(a, near).turned == 0  # type: ignore[union-attr]
    swapped = near.view(10, 64, 576)[[1, 0, *range(2, 10)]].reshape(640, 576)
    assert take(a, swapped).turned > 0.1  # type: ignore[union-attr]
    assert take(a.T, swapped.T).turned > 0.1  # type: ignore[union-attr]
    assert take(a[:2, :8], b[:2, :8]) is None
    assert take(a * 0 + 1, a * 0 + 2).cosine == pytest.approx(1)  # type: ignore[union-attr]
