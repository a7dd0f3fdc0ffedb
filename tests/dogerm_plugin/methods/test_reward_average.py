"""`reward_average`: reward models averaged, body and head."""

import json
from pathlib import Path
from typing import Any

import merging
import pytest
import reward_models
import torch
from reward_models import copied, in_memory, recipe, same
from transformers import AutoModelForSequenceClassification

from harness.study import recipe_file

METHOD = "reward_average"
HEAD = merging.HEAD


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three reward models of one base."""
    folder = tmp_path_factory.mktemp("average")
    return [reward_models.save(folder / f"rm-{seed}", seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of that base."""
    return reward_models.save_base(tmp_path_factory.mktemp("base") / "lm")


def weighted(models: list[Path], *weights: Any) -> dict[str, Any]:
    """The recipe with these weights; None: none is written."""
    entries = [
        (model, {} if weight is None else {"weight": weight})
        for model, weight in zip(models, weights, strict=False)
    ]
    return recipe(METHOD, *entries)


def is_mean(out: dict[str, torch.Tensor], folders: list[Path], shares: list[float]) -> bool:
    """Whether every tensor is Σ share · model, rounded once: no other float32 is nearer."""
    states = [merging.tensors(folder) for folder in folders]
    if any(set(out) != set(one) for one in states):
        return False
    return all(
        is_rounded(
            tensor, sum(s * one[name].double() for s, one in zip(shares, states, strict=True))
        )
        for name, tensor in out.items()
    )


def is_rounded(tensor: torch.Tensor, exact: torch.Tensor) -> bool:
    """A number half-way between two may be either: float64 does not tell on which side it is."""
    assert tensor.dtype == torch.float32
    step = torch.nextafter(tensor.abs(), torch.tensor(torch.inf)) - tensor.abs()
    return bool(((tensor - exact).abs() <= step.double() / 2 + 1e-15).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_copies_are_the_model_itself(tmp_path: Path, dtype: torch.dtype) -> None:
    """To the bit, by equal weights and by others whose sum is not quite 1 in float arithmetic."""
    first = reward_models.save(tmp_path / "rm", 1, dtype)
    folders = [first, *(copied(first, tmp_path / f"copy-{n}") for n in range(2))]
    reward = merging.tensors(first)
    assert same(in_memory(recipe(METHOD, *folders)), reward)
    assert same(merging.merged(tmp_path, weighted(folders, 0.1, 0.2, 0.7)), reward)


@pytest.mark.parametrize("shares", [None, [0.5, 0.3, 0.2], [0.25, 0.75, 0.0]])
def test_three_models(models: list[Path], tmp_path: Path, shares: list[float] | None) -> None:
    """The formula in every tensor, the head among them, and the first model's config and words."""
    content = weighted(models, *(shares or [None] * 3))
    out = merging.merged(tmp_path, content)
    assert is_mean(out, models, shares or [1 / 3] * 3)
    assert not torch.equal(out[HEAD], merging.tensors(models[0])[HEAD])
    assert same(in_memory(content), out)
    places = (tmp_path / "out", models[0])
    written, first = (json.loads((one / "config.json").read_text()) for one in places)
    assert written == first
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (models[0] / name).read_bytes()
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").num_labels == 1


def test_base_model_defines_the_output(models: list[Path], tmp_path: Path) -> None:
    """Whatever its place, its config is written; the mean does not depend on it."""
    config = json.loads((models[1] / "config.json").read_text())
    second = copied(models[1], tmp_path / "second")
    (second / "config.json").write_text(json.dumps({**config, "task": "second"}))
    content = recipe(METHOD, models[0], second, base_model=str(second))
    out = merging.merged(tmp_path, content)
    assert is_mean(out, models[:2], [0.5, 0.5])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["task"] == "second"


def test_a_domain_model_has_a_part_in_the_body(
    models: list[Path], base: Path, tmp_path: Path
) -> None:
    """And none in the head, whose weights are those of the reward models by their sum."""
    shares = [0.2, 0.5, 0.3]
    entries = [(m, {"weight": s}) for m, s in zip([base, *models[:2]], shares, strict=True)]
    out = merging.merged(tmp_path, recipe(METHOD, *entries))
    states = [merging.tensors(folder) for folder in (base, *models[:2])]
    states[0][HEAD] = torch.zeros_like(out[HEAD])
    for name, tensor in out.items():
        parts = shares if name != HEAD else [0, 0.5 / 0.8, 0.3 / 0.8]
        expected = sum(s * one[name].double() for s, one in zip(parts, states, strict=True))
        assert is_rounded(tensor, expected), name
    zero = recipe(METHOD, (base, {"weight": 1}), *((m, {"weight": 0}) for m in models[:2]))
    assert "which have it, are 0" in merging.refused(tmp_path, zero)


def test_dtypes(models: list[Path], tmp_path: Path) -> None:
    """The body is the first model's or `out_dtype`; the head keeps the finest digits."""
    half = reward_models.save(tmp_path / "half", 4, torch.bfloat16)
    content = recipe(METHOD, half, models[0])
    out = merging.merged(tmp_path, content)
    assert {tensor.dtype for name, tensor in out.items() if name != HEAD} == {torch.bfloat16}
    states = [merging.tensors(folder) for folder in (half, models[0])]
    assert torch.equal(out[HEAD], (states[0][HEAD].double() / 2 + states[1][HEAD] / 2).float())
    assert same(in_memory(content), out)
    rounded = in_memory(recipe(METHOD, *models[:2], out_dtype="bfloat16"))
    assert rounded[HEAD].dtype == torch.float32
    first, second = (merging.tensors(folder)[HEAD].double() for folder in models[:2])
    assert is_rounded(rounded[HEAD], (first + second) / 2)
    assert {t.dtype for name, t in rounded.items() if name != HEAD} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((0.5, 0.6), "the weights of the models sum to 1.1, expected 1"),
        ((0.5, None), "1 of 2 models have a weight"),
        ((0.5, 1.5), "weight 1.5 is not in 0..1: it is the model's share of the average"),
        ((0.5, [0.5, 0.4]), "weight is the same for all tensors: write one value"),
        ((0.5,), "models: names 1, and reward_average merges two reward models or more"),
    ],
)
def test_weights_that_are_none(
    models: list[Path], tmp_path: Path, weights: tuple[Any, ...], words: str
) -> None:
    assert words in merging.refused(tmp_path, weighted(models, *weights))


def test_too_few_reward_models(models: list[Path], base: Path, tmp_path: Path) -> None:
    """One with a language model is another method's; a language model does not say what is made."""
    message = merging.refused(tmp_path, recipe(METHOD, models[0], base))
    assert "has a reward head, and heads are averaged: name two reward models or more" in message
    named = recipe(METHOD, *models[:2], base, base_model=str(base))
    assert f"base_model {base} has no reward head" in merging.refused(tmp_path, named)


def _with_bias(folder: Path) -> None:
    merging.edit(folder, score__bias=torch.ones(1))


def _with_another_name(folder: Path) -> None:
    head = merging.tensors(folder)[HEAD]
    merging.edit(folder, score__weight=None, v_head__summary__weight=head)


def _config(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_with_bias, "is score.bias, score.weight, that of"),
        (_with_another_name, "is v_head.summary.weight, that of"),
        (_config(mean=0.5, std=2.0), "config.json says mean 0.5, that of"),
        (_config(score_type="cost"), "config.json says score_type cost, that of"),
    ],
)
def test_heads_that_have_no_average(
    models: list[Path], tmp_path: Path, change: Any, words: str
) -> None:
    """Of another kind or centre, refused with what differs, and nothing written."""
    other = copied(models[1], tmp_path / "other")
    change(other)
    assert words in merging.refused(tmp_path, recipe(METHOD, models[0], other))
    assert not (tmp_path / "out").exists()


def test_heads_of_unlike_shape_or_labels(models: list[Path], tmp_path: Path) -> None:
    """Classifiers of several labels are averaged where these are the same."""
    three = [reward_models.save(tmp_path / f"three-{n}", n, labels=3) for n in (1, 2)]
    message = merging.refused(tmp_path, recipe(METHOD, models[0], three[0]))
    assert "head tensor score.weight has shape [3, 32] in" in message
    for folder, names in zip(three, (("a", "b", "c"), ("b", "a", "c")), strict=True):
        labels = {str(number): name for number, name in enumerate(names)}
        _config(id2label=labels, label2id={v: int(k) for k, v in labels.items()})(folder)
    message = merging.refused(tmp_path, recipe(METHOD, *three))
    assert "its labels are b, a, c, those of" in message


def test_heads_of_unlike_starts_are_told(
    models: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Averaged all the same: the user may know better."""
    other = copied(models[1], tmp_path / "other")
    merging.edit(
        other, score__weight=torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    )
    in_memory(recipe(METHOD, models[0], models[1]))
    assert "unlike starts" not in caplog.text
    in_memory(recipe(METHOD, models[0], other))
    assert "they come of unlike starts" in caplog.text


def test_a_sweep_is_refused_in_one_line(models: list[Path], tmp_path: Path) -> None:
    """Its weights move one another: there is no model to start from."""
    from harness.errors import HarnessError

    path = merging.write(tmp_path, recipe(METHOD, *models[:2], base_model=str(models[0])))
    with pytest.raises(HarnessError, match="the heads of reward_average are averaged"):
        recipe_file.read(path)
