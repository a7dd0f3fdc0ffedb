"""`reward_heads` and `reward_heads_<rule>`: one trunk, the heads of all reward models."""

import json
from pathlib import Path
from typing import Any

import disguise
import merging
import pytest
import reward_models
import torch
from reward_models import copied, in_memory, recipe, same
from transformers import AutoModelForSequenceClassification

from dogerm_plugin.anatomy.joined_heads import short_names
from dogerm_plugin.methods import registry
from harness.errors import HarnessError
from harness.study import recipe_file

HEAD = merging.HEAD
# Rules with each model's parameters, those above the models, and whether base_model is the base.
RULES: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "task_arithmetic": ({"weight": 0.6}, {"lambda": 0.9}, True),
    "ties": ({"weight": 0.5, "density": 0.6}, {}, True),
    "dare_linear": ({"weight": 0.5, "density": 0.5}, {"seed": 3}, True),
    "model_stock": ({}, {}, True),
    "karcher": ({}, {}, False),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three reward models of one base."""
    folder = tmp_path_factory.mktemp("heads")
    return [reward_models.save(folder / f"rm-{seed}", seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of that base."""
    return reward_models.save_base(tmp_path_factory.mktemp("base") / "lm")


def heads(folders: list[Path]) -> torch.Tensor:
    """(models, hidden size)."""
    return torch.cat([merging.tensors(folder)[HEAD] for folder in folders])


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_body_and_all_heads(
    models: list[Path], base: Path, tmp_path: Path, rule: str
) -> None:
    """The body is what the same rule gives a single head; the heads are whole, in order."""
    own, shared, has_base = RULES[rule]
    entries = [(model, own) for model in models]
    more: dict[str, Any] = {"base_model": str(base)} if has_base else {}
    more |= {"parameters": shared} if shared else {}
    content = recipe(f"reward_heads_{rule}", *entries, **more)
    out = merging.merged(tmp_path, content)
    assert torch.equal(out[HEAD], heads(models))
    marked = [(models[0], {**own, "reward": True}), *entries[1:]]
    single = in_memory(recipe(f"reward_preserving_{rule}", *marked, **more))
    assert same({**out, HEAD: single[HEAD]}, single)
    assert same(in_memory(content), out)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "rm-1", "1": "rm-2", "2": "rm-3"}
    assert config["label2id"] == {"rm-1": 0, "rm-2": 1, "rm-3": 2}
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert loaded.num_labels == 3 and torch.equal(loaded.score.weight, heads(models))


def test_the_average_without_a_rule(models: list[Path], base: Path, tmp_path: Path) -> None:
    """`reward_heads` alone: the body of `reward_average`; a language model has a part in it."""
    shares = [{"weight": w} for w in (0.2, 0.3, 0.5)]
    entries = [*zip([base, models[1], models[0]], shares, strict=True)]
    out = merging.merged(tmp_path, recipe("reward_heads", *entries))
    average = in_memory(recipe("reward_average", *entries))
    assert torch.equal(out[HEAD], heads([models[1], models[0]]))
    assert same({**out, HEAD: average[HEAD]}, average)


def test_linear(models: list[Path], tmp_path: Path) -> None:
    """Its base_model is the first of the reward models."""
    entries = [(model, {"weight": 0.3}) for model in models[1:]]
    more = {"base_model": str(models[0])}
    out = merging.merged(tmp_path, recipe("reward_heads_linear", *entries, **more))
    assert torch.equal(out[HEAD], heads(models))
    single = in_memory(recipe("reward_preserving_linear", *entries, **more))
    assert same({**out, HEAD: single[HEAD]}, single)


def test_a_rule_between_two_models(models: list[Path], tmp_path: Path) -> None:
    """slerp: two heads; a third model is refused as by the rule itself."""
    more = {"base_model": str(models[0]), "parameters": {"t": 0.3}}
    out = merging.merged(tmp_path, recipe("reward_heads_slerp", *models[:2], **more))
    assert torch.equal(out[HEAD], heads(models[:2]))
    message = merging.refused(tmp_path, recipe("reward_heads_slerp", *models, **more))
    assert "reward_heads_slerp takes at most 1" in message


def test_the_trunk_is_the_rewards_own(models: list[Path], tmp_path: Path) -> None:
    """Models that differ in the head alone: the trunk is theirs to the bit."""
    folders = [copied(models[0], tmp_path / name) for name in ("a", "b")]
    merging.edit(folders[1], score__weight=merging.tensors(models[1])[HEAD])
    out = merging.merged(tmp_path, recipe("reward_heads", *folders))
    assert same(out, {**merging.tensors(models[0]), HEAD: heads(folders)})


def test_dtypes_and_biases(models: list[Path], tmp_path: Path) -> None:
    """Heads keep the finest digits whatever `out_dtype` is; biases stand one below the other."""
    half = reward_models.save(tmp_path / "half", 4, torch.bfloat16)
    content = recipe("reward_heads", half, models[0], out_dtype="float16")
    out = merging.merged(tmp_path, content)
    assert out[HEAD].dtype == torch.float32 and torch.equal(out[HEAD], heads([half, models[0]]))
    assert {t.dtype for name, t in out.items() if name != HEAD} == {torch.float16}
    assert same(in_memory(content), out)


def test_names_that_tell_models_apart() -> None:
    """As short as they can be."""
    assert short_names(["org/a", "org/b"]) == ["a", "b"]
    assert short_names(["x/run/rm", "y/run/rm", "z/rm"]) == ["x/run/rm", "y/run/rm", "z/rm"]
    assert short_names(["rm", "a/rm"]) == ["rm", "a/rm"]


def _bias(folder: Path) -> None:
    merging.edit(folder, score__bias=torch.ones(1))


def _two_layers(folder: Path) -> None:
    head = merging.tensors(folder)[HEAD]
    merging.edit(folder, score__weight=None, score__0__weight=torch.eye(32), score__2__weight=head)


def _value_head(folder: Path) -> None:
    head = merging.tensors(folder)[HEAD]
    merging.edit(folder, score__weight=None, v_head__summary__weight=head)


def _centre(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "mean": 1.5}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_bias, "score.bias [1]"),
        (_two_layers, "the head is not that of LlamaForSequenceClassification itself (score.0"),
        (_value_head, "itself (v_head.summary.weight [1, 32]): heads that stand one beside"),
        (_centre, "config.json says mean 1.5, that of"),
    ],
)
def test_heads_that_are_not_taken(
    models: list[Path], tmp_path: Path, change: Any, words: str
) -> None:
    """By name, with the reason."""
    other = copied(models[1], tmp_path / "other")
    change(other)
    message = merging.refused(tmp_path, recipe("reward_heads", models[0], other))
    assert words in message and str(other) in message


def test_a_head_of_several_numbers(models: list[Path], tmp_path: Path) -> None:
    """A checkpoint that has several heads already."""
    several = reward_models.save(tmp_path / "several", 4, labels=3)
    message = merging.refused(tmp_path, recipe("reward_heads", models[0], several))
    assert f"{several}: the head gives 3 numbers (score.weight [3, 32])" in message


def test_one_reward_model_is_not_enough(models: list[Path], base: Path, tmp_path: Path) -> None:
    entries = [(models[0], {"weight": 1}), (base, {"weight": 1})]
    pretrained = reward_models.save_base(tmp_path / "pretrained", seed=8)
    content = recipe("reward_heads_task_arithmetic", *entries, base_model=str(pretrained))
    assert "heads are put one beside the other: name two" in merging.refused(tmp_path, content)
    message = merging.refused(tmp_path, recipe("reward_heads_tise", *models))
    assert "did you mean 'reward_heads_ties'?" in message


def test_the_pretrained_base_is_no_base_model(
    models: list[Path], base: Path, tmp_path: Path
) -> None:
    """Other rules have it there; here it would be one of the averaged models without a word."""
    message = merging.refused(tmp_path, recipe("reward_heads", *models, base_model=str(base)))
    assert f"base_model {base} has no reward head, and the output of reward_heads" in message


def test_a_stranger_is_refused(models: list[Path], tmp_path: Path) -> None:
    """As by every method."""
    other = copied(models[1], tmp_path / "other")
    name = "model.layers.1.mlp.up_proj.weight"
    tensor = merging.tensors(other)[name]
    merging.edit(other, **{name: torch.randn(tensor.shape, generator=torch.Generator())})
    message = merging.refused(tmp_path, recipe("reward_heads", models[0], other))
    assert "is no relative of the reward model's" in message


def test_a_sweep_is_refused_in_one_line(models: list[Path], tmp_path: Path) -> None:
    """Its measurements are of one reward."""
    for method in ("reward_heads", "reward_heads_karcher"):
        path = merging.write(tmp_path, recipe(method, *models))
        with pytest.raises(HarnessError, match=f"heads of {method} are put one beside"):
            recipe_file.read(path)


def test_every_rule_has_its_name() -> None:
    """Those of mergekit and this project's own; none of them twice."""
    names = registry.names()
    rules = {one.removeprefix("reward_preserving_") for one in names if "preserving" in one}
    assert {f"reward_heads_{rule}" for rule in rules} | {"reward_heads"} == {
        one for one in names if one.startswith("reward_heads")
    }
    assert len(names) == len({*names}) and not any("preserving_reward" in one for one in names)


def test_disguised_body(tmp_path: Path) -> None:
    """Of two reward models by mergekit's own TIES, with both disguised as language models."""
    of = disguise.family(tmp_path, "llama")
    content = disguise.recipe(
        of.base,
        (of.rm, {"weight": 0.9, "density": 0.7}),
        (of.lm, {"weight": 0.6, "density": 0.5}),
        merge_method="reward_preserving_ties",
    )
    second = tmp_path / "second"
    model = AutoModelForSequenceClassification.from_pretrained(of.rm)
    language = disguise.AutoModelForCausalLM.from_pretrained(of.lm)
    model.model.load_state_dict(language.model.state_dict())
    model.save_pretrained(second)
    text = json.dumps(content).replace(str(of.lm), str(second))
    ours = merging.merged(tmp_path, {**json.loads(text), "merge_method": "reward_heads_ties"})
    (tmp_path / "host").mkdir()
    theirs = disguise.by_mergekit(tmp_path / "host", of, content)
    assert torch.equal(ours.pop(HEAD), heads([of.rm, second]))
    assert ours and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
