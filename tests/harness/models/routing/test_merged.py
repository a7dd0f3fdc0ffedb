"""Experts that are made by merging: in memory they are what mergekit-yaml writes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness.errors import HarnessError
from harness.models.reward import Reward
from harness.models.routing import router_file
from harness.models.routing.choice import check_labels, choose
from harness.models.routing.merged import LiveSlot, WrittenSlot
from tests import warm
from tests.harness.conftest import preference_rows, tuned
from tests.harness.models.test_reward import requests, rewards, some_pairs
from tests.harness.models.test_router import ByHash, router, talks

LINEAR, TASK = "reward_preserving_linear", "reward_preserving_task_arithmetic"


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Path:
    """A folder of a reward model, two domain models, and the base of all."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    folder = tmp_path_factory.mktemp("models")
    language = LlamaConfig(**{k: v for k, v in small_config.items() if k != "num_labels"})
    made = {
        "rm": tuned(LlamaForSequenceClassification(LlamaConfig(**small_config)), 1, 0.1),
        "math-lm": tuned(LlamaForCausalLM(language), 2),
        "code-lm": tuned(LlamaForCausalLM(language), 3),
        "base": tuned(LlamaForCausalLM(language), 4, 0.0),
    }
    for name, model in made.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def in_bfloat16(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same models, stored in bfloat16."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(models, tmp_path_factory.mktemp("bfloat16") / "models"))
    for one in folder.iterdir():
        state = {n: t.bfloat16() for n, t in load_file(one / "model.safetensors").items()}
        save_file(state, one / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((one / "config.json").read_text())
        (one / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    return folder


def linear(folder: Path, *domain: str, rm: str = "rm", **more: Any) -> dict[str, Any]:
    entries = [{"model": str(folder / one), "parameters": {"weight": 0.3}} for one in domain]
    return {"merge_method": LINEAR, "base_model": str(folder / rm), "models": entries, **more}


def task(folder: Path, domain: str, **more: Any) -> dict[str, Any]:
    models = [
        {"model": str(folder / "rm"), "parameters": {"weight": 1, "reward": True}},
        {"model": str(folder / domain), "parameters": {"weight": 0.5}},
    ]
    base = str(folder / "base")
    return {"merge_method": TASK, "base_model": base, "models": models, **more}


def write(folder: Path, experts: dict[str, Any], **content: Any) -> str:
    """A router file; the recipe of `math` goes into a file beside it."""
    experts = dict(experts)
    if isinstance(experts.get("math"), dict):
        (folder / "math-merge.yml").write_text(yaml.safe_dump(experts["math"]))
        experts["math"] = "math-merge.yml"
    file = folder / "router.yml"
    content = {"experts": experts, "router": {"always": "general"}, **content}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(file)


def written(folder: Path, content: dict[str, Any]) -> str:
    """What mergekit-yaml writes for a recipe."""
    from click.testing import CliRunner
    from mergekit.scripts.run_yaml import main

    folder.mkdir()
    (folder / "recipe.yml").write_text(yaml.safe_dump(content))
    arguments = [str(folder / "recipe.yml"), str(folder / "out"), "--quiet"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return str(folder / "out")


def same_state(model: Any, other: Any) -> None:
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert mine[name].dtype == tensor.dtype and torch.equal(mine[name], tensor), name


@pytest.mark.parametrize(
    ("stored", "arguments", "more"),
    [
        ("models", {}, {}),
        ("in_bfloat16", {}, {}),
        ("models", {"dtype": "bfloat16"}, {}),
        ("models", {}, {"dtype": "bfloat16"}),
        ("in_bfloat16", {}, {"out_dtype": "float32"}),
        ("models", {}, {"tokenizer": {"source": "base"}}),
    ],
    ids=[
        "float32",
        "bfloat16",
        "loaded in bfloat16",
        "merged in bfloat16",
        "merged in float32",
        "aligned by token",
    ],
)
def test_merges_in_memory_are_those_of_mergekit_yaml(
    stored: str,
    arguments: dict[str, Any],
    more: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Weights to the bit, and so the rewards; whatever the live model was before."""
    models: Path = request.getfixturevalue(stored)
    recipes = {"math": linear(models, "math-lm", **more), "code": task(models, "code-lm", **more)}
    file = write(tmp_path, {"general": str(models / "rm"), **recipes})
    model = router(None, router=file, all_experts=True, **arguments)
    assert model.pool.loads == (2 if {"dtype", "out_dtype"} & more.keys() else 1)
    places = {name: written(tmp_path / name, one) for name, one in recipes.items()}
    places["general"] = str(models / "rm")
    asked = talks(some_pairs(5))
    fresh = {n: Reward(p, device="cpu", batch_size=4, **arguments) for n, p in places.items()}
    answers = model.loglikelihood(requests(asked), True)
    for name, alone in fresh.items():
        expected = rewards(alone, asked)
        assert [one[2]["experts"][name] for one in answers] == expected
    assert len({tuple(rewards(alone, asked)) for alone in fresh.values()}) == 3
    for name in ("code", "general", "math", "general"):
        same_state(model.pool.get(name).model, fresh[name].model)


def test_merged_experts_cost_one_model_and_one_merge_each(models: Path, tmp_path: Path) -> None:
    recipes = {"math": linear(models, "math-lm"), "code": task(models, "code-lm")}
    file = write(tmp_path, {"general": str(models / "rm"), **recipes})
    one = Reward(str(models / "rm"), device="cpu")
    model = router(None, router=file, all_experts=True)
    asked = requests(talks(some_pairs(6)))
    first = model.loglikelihood(asked, True)
    info = model.get_model_info()
    assert info["model_num_parameters"] == one.get_model_info()["model_num_parameters"]
    assert (info["loads"], info["merges"]) == (1, 2)
    assert [one["name"] for one in info["members"]] == ["general", "math", "code"]
    assert [one["scored_rows"] for one in info["members"]] == [len({r.args for r in asked})] * 3
    assert info["members"][1]["pretrained"].endswith("math-merge.yml")
    assert model.loglikelihood(asked, True) == first
    assert model.get_model_info()["merges"] == 3  # code was in it still
    # read before anything is merged into the model
    assert model.pool.loads == 1 and model.order()[0] in ("general", "math")


def test_routed_rows_have_their_merges_reward(models: Path, tmp_path: Path) -> None:
    recipes = {"math": linear(models, "math-lm"), "code": task(models, "code-lm")}
    (tmp_path / "files").mkdir()
    places = {}
    for name, content in recipes.items():
        places[name] = str(tmp_path / "files" / f"{name}.yml")
        Path(places[name]).write_text(yaml.safe_dump(content))
    asked = talks(some_pairs(9))
    model = router({"general": str(models / "rm"), **places}, router=ByHash())
    answers = model.loglikelihood(requests(asked), True)
    assert {one[2]["expert"] for one in answers} == {"general", "math", "code"}
    for name, content in recipes.items():
        expected = rewards(Reward(written(tmp_path / name, content), device="cpu"), asked)
        for (score, _, details), reward in zip(answers, expected, strict=True):
            assert details["expert"] != name or score == pytest.approx(reward, abs=1e-5)


def test_recipes_that_need_models_of_their_own(
    models: Path, tmp_path: Path, tokenizer: Any
) -> None:
    """Another reward model has a live model of its own; a union of tokens a written merge."""
    shutil.copytree(models / "rm", tmp_path / "other-rm")
    recipes = {
        "math": linear(models, "math-lm"),
        "code": {**linear(models, "code-lm"), "base_model": str(tmp_path / "other-rm")},
        "law": linear(models, "math-lm", tokenizer={"source": "union"}),
    }
    file = write(tmp_path, {**recipes, "general": str(models / "code-lm" / ".." / "rm")})
    model = router(None, router=file, all_experts=True)
    kinds = [type(slot) for slot in model.pool._pools[0]._slots]
    assert kinds == [LiveSlot, LiveSlot, WrittenSlot]
    assert model.pool._pools[0]._slots[0].names == ("general", "math")
    asked = talks(some_pairs(3))
    answers = model.loglikelihood(requests(asked), True)
    bounded = router(None, router=file, all_experts=True, max_loaded=1)
    assert bounded.loglikelihood(requests(asked), True) == answers
    assert bounded.pool.loads == 3
    for name, content in recipes.items():
        alone = Reward(written(tmp_path / name, content), device="cpu", batch_size=4)
        assert [one[2]["experts"][name] for one in answers] == rewards(alone, asked)


def test_one_merge_of_all_domains_stands_beside_the_routed_ones(
    models: Path, tmp_path: Path, tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """It is never chosen, has no share, and scores only where all do."""
    import lm_eval

    recipes = {"math": linear(models, "math-lm"), "code": linear(models, "code-lm")}
    recipes["all"] = linear(models, "math-lm", "code-lm")
    rows = [*preference_rows("hep-go", 4), *preference_rows("math-prm", 4, start=4)]
    file = write(
        tmp_path,
        {"general": str(models / "rm"), **recipes},
        router="oracle",
        fallback="general",
        domain="subset",
        domains={"math-prm": "math", "hep-*": "code"},
        beside=["all"],
    )
    results = lm_eval.simple_evaluate(
        "reward-router",
        model_args=f"router={file},all_experts=True",
        device="cpu",
        tasks=["rewardbench_reasoning"],
        task_manager=tasks(data_dir=write_rows(rows)),
        bootstrap_iters=0,
    )
    scores = results["results"]["rewardbench-math-prm"]
    wanted = {f"accuracy_{n},none" for n in ("general", "math", "code", "all", "oracle")}
    assert wanted <= scores.keys()
    shares = {key for key in scores if key.startswith("share_") and "stderr" not in key}
    assert shares == {f"share_{name},none" for name in ("general", "math", "code")}
    assert results["config"]["share_of_documents"].keys() == {"general", "math", "code"}
    assert results["config"]["merges"] == 3
    few = router(None, router=file)
    assert [one["name"] for one in few.get_model_info()["members"]] == ["general", "math", "code"]
    asked = requests(talks(some_pairs(2)))
    (first, *_) = router(None, router=file, always="all").loglikelihood(asked, True)
    assert first[2]["expert"] == "all"


def test_a_router_needs_no_label_for_what_stands_beside(models: Path, tmp_path: Path) -> None:
    experts = dict.fromkeys((*ByHash.labels, "all"), str(models / "rm"))
    file = write(tmp_path, experts, beside=["all"])
    made = router_file.read(Path(file))
    check_labels(ByHash.labels, "router/", made)
    shares = dict.fromkeys(ByHash.labels, 1 / 3)
    assert choose(shares, made, 1).probabilities.keys() == shares.keys()


def test_a_cache_knows_recipes_and_model_files(
    models: Path, tmp_path: Path, tasks: Callable[..., Any]
) -> None:
    shutil.copytree(models / "math-lm", tmp_path / "math-lm")
    content = {**linear(models, "math-lm")}
    content["models"] = [{"model": str(tmp_path / "math-lm"), "parameters": {"weight": 0.3}}]
    experts = {"general": str(models / "rm"), "math": content}
    told = [router(None, router=write(tmp_path, experts)).identity()]
    again = router(None, router=write(tmp_path, experts))
    assert again.identity() == told[0] and again.pool.merges == 0
    content["models"][0]["parameters"]["weight"] = 0.4
    told.append(router(None, router=write(tmp_path, experts)).identity())
    shutil.copy(models / "code-lm" / "model.safetensors", tmp_path / "math-lm")
    told.append(router(None, router=write(tmp_path, experts)).identity())
    assert len({one["expert math"] for one in told}) == 3
    assert len({one["expert general"] for one in told}) == 1


def mistakes(models: Path) -> Iterator[tuple[dict[str, Any], str]]:
    misspelt = {**linear(models, "math-lm"), "base": "x"}
    yield {"law": "nowhere.yml"}, "the expert law: nowhere.yml: there is no such recipe file"
    yield {"math": misspelt}, "the expert math: math-merge.yml: unknown key 'base'"
    yield {"law": {"models": []}}, "the expert law: not a recipe: expected keys such as merge_m"
    yield {"law": {**linear(models, "math-lm"), "merge_method": "linear"}}, "loses the reward head"
    headless = linear(models, "code-lm", rm="math-lm")
    yield {"law": headless}, "router.yml: the expert law: "
    no_model = {**linear(models, "math-lm"), "base_model": "./nowhere"}
    yield {"law": no_model}, "the expert law: ./nowhere: no such folder"
    none_marked = task(models, "code-lm")
    none_marked["models"] = [
        {"model": str(models / one), "parameters": {"weight": 1}} for one in ("math-lm", "code-lm")
    ]
    yield {"law": none_marked}, "has a reward head, linear layers from the hidden size"


def test_mistakes_are_one_line(models: Path, tmp_path: Path) -> None:
    """Each names the router file, the expert, and the recipe's file where it has one."""
    for experts, words in mistakes(models):
        plain = {"general": str(models / "rm"), "code": str(models / "rm")}
        with pytest.raises(HarnessError, match=re.escape(words)) as told:
            router(None, router=write(tmp_path, plain | experts))
        assert "\n" not in str(told.value)
        assert str(told.value).startswith(f"{tmp_path / 'router.yml'}: the expert ")


def test_an_expert_that_is_never_chosen_is_told_how_to_be(models: Path) -> None:
    experts = dict.fromkeys((*ByHash.labels, "all"), str(models / "rm"))
    with pytest.raises(HarnessError, match=r"none is for 'all', .* list it under `beside:` in"):
        router(experts, router=ByHash())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"beside": ["law"]}, "beside names the expert 'law'; there are general, math, code"),
        (
            {"beside": ["math", "code"]},
            "a router chooses among two or more experts, and here are 1",
        ),
        ({"beside": ["math"], "fallback": "math"}, "math is listed beside, so no prompt is for it"),
        (
            {"beside": ["math"], "domain": "topic", "domains": {"m": "math"}},
            "math is listed beside, so no prompt is for it",
        ),
    ],
)
def test_mistakes_in_what_stands_beside(
    content: dict[str, Any], words: str, models: Path, tmp_path: Path
) -> None:
    experts = dict.fromkeys(("general", "math", "code"), str(models / "rm"))
    with pytest.raises(HarnessError, match=re.escape(words)):
        router(None, router=write(tmp_path, experts, **content))


def test_arguments_that_merged_weights_can_not_have(models: Path, tmp_path: Path) -> None:
    file = write(tmp_path, {"general": str(models / "rm"), "math": linear(models, "math-lm")})
    with pytest.raises(HarnessError, match=r"--model_args load_in_8bit=: merged weights are wr"):
        router(None, router=file, load_in_8bit=True)


def test_a_calibration_of_a_merge_is_held_against_it(models: Path, tmp_path: Path) -> None:
    from dogerm_plugin.recipe.router import recipes
    from harness.models.routing.experts import of_folder

    experts = {"general": str(models / "rm"), "math": linear(models, "math-lm")}
    digest = recipes(experts, "router.yml", tmp_path)["math"].digest
    scales = {"general": {"mean": 0, "std": 1, "files": of_folder(str(models / "rm"))}}
    scales["math"] = {"mean": 2, "std": 3, "files": digest}
    model = router(None, router=write(tmp_path, experts, calibration=scales))
    assert model.made.calibration["math"].files == digest
    experts["math"] = linear(models, "code-lm")
    with pytest.raises(HarnessError, match=r"the expert math: its calibration .* of other files"):
        router(None, router=write(tmp_path, experts, calibration=scales))


def test_a_process_of_lm_eval(
    models: Path, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Recipes by the command line, relative to the router file."""
    recipe = {**linear(Path(), "math-lm"), "base_model": "rm"}
    for name in ("rm", "math-lm"):
        shutil.copytree(models / name, tmp_path / "set" / name)
    write(tmp_path / "set", {"general": "rm/", "math": recipe}, router={"always": "math"})
    data = write_rows(preference_rows("math-prm", 4))
    for file, status in (("set/router.yml", 0), ("set/lacking.yml", 1)):
        arguments = ["--model", "reward-router", "--model_args", f"router={file}"]
        arguments += ["--tasks", "rewardbench-math-prm", "--device", "cpu"]
        arguments += ["--metadata", json.dumps({"data_dir": str(data)})]
        done = warm.run("lm_eval", *arguments, cwd=tmp_path)
        assert (done.returncode != 0) == bool(status), done.stderr
    assert "Traceback" not in done.stderr


def test_merges_on_several_devices(models: Path, tmp_path: Path) -> None:
    """Each device merges its share in turn, while nobody scores; actors take checkpoints alone."""
    merges = {lm.removesuffix("-lm"): linear(models, lm) for lm in ("math-lm", "code-lm")}
    experts = {"general": str(models / "rm"), **merges}
    file = write(tmp_path, experts)
    asked = requests(talks(some_pairs(6)))
    expected = router(None, router=file, all_experts=True).loglikelihood(asked, True)
    model = router(None, router=file, all_experts=True, device=None, devices="cpu;cpu")
    for _ in range(2):
        assert model.loglikelihood(asked, True) == expected
    assert (model.pool.loads, len(model.get_model_info()["members"])) == (2, 3)
    with pytest.raises(HarnessError, match="ray=local: the expert math is a recipe, and actors"):
        router(None, router=file, all_experts=True, ray="local")
