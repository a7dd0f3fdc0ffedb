# SPDX-License-Identifier: Apache-2.0
"""What `dogerm train hybrid` made, as a checkpoint of two heads: loaded, scored and merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaForCausalLM,
)

from tests.harness.conftest import tuned
from tests.harness.models.test_implicit import implicit
from tests.harness.models.test_reward import reward, rewards, some_pairs
from tests.harness.training.conftest import pairs
from tests.harness.training.test_runs import SMALL, _run

CLASSES = ["LlamaForSequenceClassification", "LlamaForCausalLM"]


class Trained(NamedTuple):
    """Folders.

    Attributes:
        base: the language model.
        adapter: of a hybrid run on it.
        whole: a hybrid run of all weights.
        plain: a reward model of the same base, exported.
        domain: a language model of the same base.
    """

    base: Path
    adapter: Path
    whole: Path
    plain: Path
    domain: Path


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Each trained for a few steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs(20)))
    for kind, name, more in (
        ("hybrid", "adapter", {"lora": {"rank": 4}}),
        ("hybrid", "whole", {"lora": None, "training": {**SMALL, "learning_rate": 1e-4}}),
        ("reward", "other", {"lora": {"rank": 2}}),
    ):
        settings = {"model": "some/base", "data": [{"file": "rows.jsonl"}], "training": SMALL}
        file = folder / f"{name}.yml"
        file.write_text(yaml.safe_dump({**settings, **more}))
        done = _run(kind, file, "-o", folder / name, "--model", base)
        assert done.exit_code == 0, done.output
    done = _export(folder / "plain", folder / "other", "--model", base)
    assert done.exit_code == 0, done.output
    domain = AutoModelForCausalLM.from_pretrained(base)
    start = {name: value.clone() for name, value in domain.state_dict().items()}
    change = tuned(LlamaForCausalLM(domain.config), seed=4, share=0.3).state_dict()
    with torch.no_grad():
        for name, value in domain.state_dict().items():
            value.copy_(0.95 * start[name] + 0.05 * change[name])
    domain.save_pretrained(folder / "domain")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "domain")
    names = ("adapter", "whole", "plain", "domain")
    return Trained(base, *(folder / name for name in names))


def _export(out: Path, source: Path, *options: Any) -> Any:
    return _run("export", source, "-o", out, "--dtype", "float32", *options)


def _merged(folder: Path, recipe: dict[str, Any]) -> dict[str, torch.Tensor]:
    from mergekit.scripts.run_yaml import main

    folder.mkdir()
    (folder / "recipe.yml").write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(main, [str(folder / "recipe.yml"), str(folder / "out"), "--quiet"])
    assert done.exit_code == 0, done.output
    return dict(load_file(folder / "out" / "model.safetensors"))


def test_an_adapters_two_heads(trained: Trained, tmp_path: Path) -> None:
    """One checkpoint, two classes; `reward` and `reward-implicit` score it like the adapter."""
    done = _export(tmp_path / "both", trained.adapter, "--model", trained.base, "--heads", "both")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "both/config.json").read_text())["architectures"] == CLASSES
    asked = some_pairs(6)
    base, adapter = str(trained.base), str(trained.adapter)

    policy = implicit(tmp_path / "both", reference=base)
    switched = implicit(base, peft=adapter, reference="base")
    expected = rewards(switched, asked)
    assert max(map(abs, expected)) > 1e-3
    assert rewards(policy, asked) == pytest.approx(expected, abs=1e-4)

    ours = rewards(reward(tmp_path / "both"), asked)
    assert ours == pytest.approx(rewards(reward(base, peft=adapter), asked), abs=1e-4)

    one = AutoModelForSequenceClassification.from_pretrained(tmp_path / "both").eval()
    other = AutoModelForCausalLM.from_pretrained(tmp_path / "both").eval()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        states = one.model(ids).last_hidden_state
        assert torch.equal(states, other.model(ids).last_hidden_state)
        assert torch.equal(one.score(states)[:, -1], one(ids).logits)
        assert torch.equal(other.lm_head(states), other(ids).logits)
    before = AutoModelForCausalLM.from_pretrained(base)
    assert torch.equal(other.lm_head.weight, before.lm_head.weight)  # frozen under an adapter


def test_one_head_of_an_adapter(trained: Trained, tmp_path: Path) -> None:
    """Each alone is a plain model of its kind; without --heads it is the reward's."""
    named = ("--model", trained.base)
    for name, options in (("reward", ()), ("same", ("--heads", "reward"))):
        assert _export(tmp_path / name, trained.adapter, *named, *options).exit_code == 0
        assert json.loads((tmp_path / name / "config.json").read_text())["architectures"] == [
            "LlamaForSequenceClassification"
        ]
    one, same = (load_file(tmp_path / name / "model.safetensors") for name in ("reward", "same"))
    assert one.keys() == same.keys() and all(torch.equal(one[n], same[n]) for n in one)
    assert "score.weight" in one and "lm_head.weight" not in one

    assert _export(tmp_path / "lm", trained.adapter, *named, "--heads", "policy").exit_code == 0
    stored = load_file(tmp_path / "lm" / "model.safetensors")
    assert "score.weight" not in stored
    assert json.loads((tmp_path / "lm/config.json").read_text())["architectures"] == [CLASSES[1]]
    assert all(torch.equal(stored[name], one[name]) for name in one if name != "score.weight")
    asked = some_pairs(3)
    switched = implicit(trained.base, peft=str(trained.adapter), reference="base")
    found = rewards(implicit(tmp_path / "lm", reference=str(trained.base)), asked)
    assert found == pytest.approx(rewards(switched, asked), abs=1e-4)


def test_a_whole_model(trained: Trained, tmp_path: Path) -> None:
    """It is scored as it is, and gives one head or both in another dtype."""
    asked = some_pairs(4)
    whole = str(trained.whole)
    by_reward = rewards(reward(whole), asked)
    by_policy = rewards(implicit(whole, reference=str(trained.base)), asked)
    assert max(map(abs, by_policy)) > 1e-3
    for heads in ("both", "reward", "policy"):
        done = _export(tmp_path / heads, trained.whole, "--heads", heads)
        assert done.exit_code == 0, done.output
    for heads in ("both", "reward"):
        assert rewards(reward(tmp_path / heads), asked) == pytest.approx(by_reward, abs=1e-5)
    for heads in ("both", "policy"):
        model = implicit(tmp_path / heads, reference=str(trained.base))
        assert rewards(model, asked) == pytest.approx(by_policy, abs=1e-5)
    assert _run("export", whole, "-o", tmp_path / "half").exit_code == 0
    half = load_file(tmp_path / "half" / "model.safetensors")
    assert half["model.norm.weight"].dtype == torch.bfloat16
    assert half["score.weight"].dtype == torch.float32


def test_it_merges_as_the_reward_model(trained: Trained, tmp_path: Path) -> None:
    """The head stays bit-equal; the output is a reward model alone."""
    done = _export(tmp_path / "both", trained.adapter, "--model", trained.base, "--heads", "both")
    assert done.exit_code == 0, done.output
    before = load_file(tmp_path / "both" / "model.safetensors")
    out = _merged(
        tmp_path / "merge",
        {
            "merge_method": "reward_preserving_linear",
            "base_model": str(tmp_path / "both"),
            "models": [{"model": str(trained.domain), "parameters": {"weight": 0.3}}],
        },
    )
    assert set(out) == set(before)
    for name in {"score.weight", "lm_head.weight"} & set(out):
        assert torch.equal(out[name], before[name])
    domain = load_file(trained.domain / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.allclose(out[name], torch.lerp(before[name], domain[name], 0.3), atol=1e-6)
    config = json.loads((tmp_path / "merge/out/config.json").read_text())
    assert config["architectures"] == CLASSES[:1]
    assert len({*rewards(reward(tmp_path / "merge" / "out"), some_pairs(3))}) > 1


def test_it_merges_as_the_domain_model(trained: Trained, tmp_path: Path) -> None:
    """Beside another reward model, which `base_model` names or a mark does."""
    done = _export(tmp_path / "both", trained.adapter, "--model", trained.base, "--heads", "both")
    assert done.exit_code == 0, done.output
    plain, both = (load_file(f / "model.safetensors") for f in (trained.plain, tmp_path / "both"))
    name = "model.layers.1.self_attn.q_proj.weight"
    linear = _merged(
        tmp_path / "linear",
        {
            "merge_method": "reward_preserving_linear",
            "base_model": str(trained.plain),
            "models": [{"model": str(tmp_path / "both"), "parameters": {"weight": 0.4}}],
        },
    )
    assert torch.equal(linear["score.weight"], plain["score.weight"])
    assert torch.allclose(linear[name], torch.lerp(plain[name], both[name], 0.4), atol=1e-6)

    marked = {"model": str(trained.plain), "parameters": {"reward": True, "weight": 1}}
    recipe: dict[str, Any] = {
        "merge_method": "reward_preserving_task_arithmetic",
        "base_model": str(trained.base),
        "models": [marked, {"model": str(tmp_path / "both"), "parameters": {"weight": 0.4}}],
    }
    out = _merged(tmp_path / "task", recipe)
    start = load_file(trained.base / "model.safetensors")
    assert torch.equal(out["score.weight"], plain["score.weight"])
    expected = plain[name] + 0.4 * (both[name] - start[name])
    assert torch.allclose(out[name], expected, atol=1e-5)

    del recipe["models"][0]["parameters"]["reward"]
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    from mergekit.scripts.run_yaml import main

    done = CliRunner().invoke(main, [str(tmp_path / "recipe.yml"), str(tmp_path / "out")])
    assert done.exit_code and "have a reward head: write `parameters: {reward: true}`" in (
        done.output
    )


def test_mistakes_are_one_line(trained: Trained, tmp_path: Path) -> None:
    """An adapter without its base, a whole model with one, a head that is not there."""
    (tmp_path / "sft.yml").write_text(
        yaml.safe_dump(
            {
                "model": "some/base",
                "data": [{"generator": "sums", "rows": 30}],
                "lora": {"rank": 2},
                "training": SMALL,
                "validation": {"share": 0.3},
            }
        )
    )
    done = _run("sft", tmp_path / "sft.yml", "-o", tmp_path / "sft", "--model", trained.base)
    assert done.exit_code == 0, done.output
    base = ("--model", trained.base)
    for source, options, message in (
        (trained.adapter, (), "name its base model with --model"),
        (trained.whole, base, "is a whole model: leave --model out"),
        (tmp_path / "sft", (*base, "--heads", "both"), "without a reward head"),
        (tmp_path / "sft", (*base, "--heads", "reward"), "without a reward head"),
    ):
        done = _export(tmp_path / "out", source, *options)
        assert done.exit_code == 1 and message in done.output, done.output
        assert len(done.output.splitlines()) == 1 and not (tmp_path / "out").exists()
    assert _export(tmp_path / "lm", tmp_path / "sft", *base, "--heads", "policy").exit_code == 0
