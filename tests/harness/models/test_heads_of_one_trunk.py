"""`--model reward` with `combine=`: several heads on one trunk, in one forward."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.conversation import Conversation
from tests.harness.conftest import preference_rows
from tests.harness.models.test_ensemble import ensemble
from tests.harness.models.test_reward import requests, reward, some_pairs

Save = Callable[..., Path]
RULES = [("mean", None), ("min", None), ("mean-std", None), ("mean-std", 0.5), ("rank-mean", None)]


@pytest.fixture(scope="module")
def members(save_reward_model: Save, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three reward models that differ in the head alone."""
    import torch
    from safetensors.torch import load_file, save_file

    first = save_reward_model(seed=31)
    folders = [first]
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("member") / f"rm-{seed}"
        shutil.copytree(first, folder)
        state = load_file(folder / "model.safetensors")
        generator = torch.Generator().manual_seed(seed)
        state["score.weight"] = torch.randn(state["score.weight"].shape, generator=generator)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    return [str(folder) for folder in folders]


@pytest.fixture(scope="module")
def stacked(members: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The three as one checkpoint, by mergekit's own command."""
    import yaml
    from click.testing import CliRunner
    from mergekit.scripts.run_yaml import main

    folder = tmp_path_factory.mktemp("stacked")
    content = {"merge_method": "reward_heads", "models": [{"model": name} for name in members]}
    (folder / "recipe.yml").write_text(yaml.safe_dump(content))
    done = CliRunner().invoke(main, [str(folder / "recipe.yml"), str(folder / "out"), "--quiet"])
    assert done.exit_code == 0, done.output
    return str(folder / "out")


def asked(count: int = 4) -> list[Any]:
    return requests(
        [
            (Conversation(prompt, [{"role": "user", "content": prompt}]), response)
            for prompt, response in some_pairs(count)
        ]
    )


@pytest.mark.parametrize("share_prefix", [True, False])
@pytest.mark.parametrize(("rule", "k"), RULES)
def test_equal_to_the_ensemble_of_the_checkpoints(
    members: list[str], stacked: str, rule: str, k: float | None, share_prefix: bool
) -> None:
    """Every score and every member's reward, in float32; the kind of score is the same, too."""
    arguments = {"combine": rule, "k": k, "share_prefix": share_prefix, "dtype": "float32"}
    expected = ensemble(members, **arguments).loglikelihood(asked(), True)
    model = reward(stacked, **arguments)
    answers = model.loglikelihood(asked(), True)
    assert model.scorer.shares_prefixes is share_prefix and not model.scorer.own_forward
    assert len(answers) == len(expected) == 8
    for one, other in zip(answers, expected, strict=True):
        # heads of norm 8 on states of norm 8, three products in one or one by one: sums of up to
        # 64 in another order, at 6e-8 each
        assert one[0] == pytest.approx(other[0], abs=1e-5)
        assert one[2].pop("members") == pytest.approx(other[2].pop("members"), abs=1e-5)
        assert one[2] == other[2]


def test_one_forward_for_all_heads(stacked: str) -> None:
    """The body runs as often as with one head."""
    from unittest.mock import patch

    model = reward(stacked, combine="min", batch_size=1, share_prefix=False)
    with patch.object(model.scorer.body, "forward", wraps=model.scorer.body.forward) as forward:
        model.loglikelihood(asked(3), True)
    assert forward.call_count == 6


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_its_own_forward_gives_the_same(
    stacked: str, monkeypatch: pytest.MonkeyPatch, attention: str
) -> None:
    """As for models whose body and head can't be run apart."""
    from harness.models.score import scorer

    arguments: dict[str, Any] = {"combine": "mean", "attn_implementation": attention}
    expected = reward(stacked, **arguments).loglikelihood(asked(), True)
    monkeypatch.setattr(scorer, "body_of", lambda model: None)
    model = reward(stacked, **arguments)
    assert model.scorer.own_forward
    for one, other in zip(model.loglikelihood(asked(), True), expected, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-5)
        assert one[2]["members"] == pytest.approx(other[2]["members"], abs=1e-5)


def test_bfloat16_with_a_float32_head(stacked: str) -> None:
    """No head's rewards are rounded to 8 bits: unlike rows don't tie."""
    model = reward(stacked, combine="mean", dtype="bfloat16")
    assert model.scorer.head_dtype == "float32"
    rewards = [answer[2]["members"] for answer in model.loglikelihood(asked(6), True)]
    assert all(len({*head}) == len(head) for head in zip(*rewards, strict=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "the model has num_labels=3 (score.weight [3, 32])"),
        ({}, "say what they make together with combine=mean, min, mean-std or rank-mean"),
        ({"combine": "median"}, "combine=median is unknown; it is one of mean, min, mean-"),
        ({"combine": "min", "k": 2}, "k=2 is for combine=mean-std, and this is combine=min"),
        ({"k": 2}, "k=2 is for combine=mean-std, and there is no combine="),
        ({"combin": "min"}, "unknown 'combin'; did you mean 'combine'?"),
    ],
)
def test_wrong_arguments(stacked: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)) as told:
        reward(stacked, **arguments)
    assert "\n" not in str(told.value)


def test_one_head_has_nothing_to_combine(members: list[str]) -> None:
    with pytest.raises(HarnessError, match="combine=mean: the model has one head"):
        reward(members[0], combine="mean")


def test_a_reward_that_is_not_finite_is_told(stacked: str, tmp_path: Path) -> None:
    """One of a row's several."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(stacked, tmp_path / "broken"))
    (file,) = folder.glob("*.safetensors")
    state = load_file(file)
    state["score.weight"][1, 3] = torch.inf
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(HarnessError, match=r"the tensor score.weight of .* holds NaN or Inf"):
        reward(folder, combine="mean").loglikelihood(asked(), True)


def test_a_repeated_request_does_not_change_a_rank(stacked: str) -> None:
    """lm-eval repeats requests so that every process has as many."""
    model = reward(stacked, combine="rank-mean")
    plain = model.loglikelihood(asked(2), True)
    again = [*asked(2), asked(2)[-1], asked(2)[-1]]
    assert model.loglikelihood(again, True) == [*plain, *plain[-1:] * 2]


def test_the_cache_knows_the_rule(stacked: str, tmp_path: Path) -> None:
    from lm_eval.api.model import CachingLM

    path = str(tmp_path / "cache.db")
    first = CachingLM(reward(stacked, combine="mean"), path).loglikelihood(asked())
    again = reward(stacked, combine="mean")
    assert CachingLM(again, path).loglikelihood(asked()) == first and again.scored_rows == 0
    with pytest.raises(HarnessError, match=r"written by another model .*kind ensemble of rewards"):
        CachingLM(reward(stacked, combine="min"), path)
    with pytest.raises(HarnessError, match="does not go with combine=rank-mean"):
        CachingLM(reward(stacked, combine="rank-mean"), str(tmp_path / "other.db"))


@pytest.mark.parametrize(
    ("rule", "number"), [("weighted", "weights"), ("mean-std", "k")], ids=["weights", "k"]
)
def test_the_cache_knows_all_digits(
    stacked: str, members: list[str], tmp_path: Path, rule: str, number: str
) -> None:
    """Those that a search writes are more than a table shows."""
    from lm_eval.api.model import CachingLM

    one, other = (
        {number: ";".join([value] * (len(members) if rule == "weighted" else 1))}
        for value in ("0.33333333", "0.33333334")
    )
    path = str(tmp_path / "cache.db")
    CachingLM(reward(stacked, combine=rule, **one), path).loglikelihood(asked())
    with pytest.raises(HarnessError, match=r"written by another model .*combination"):
        CachingLM(reward(stacked, combine=rule, **other), path)


def test_a_run_of_lm_eval(
    stacked: str, members: list[str], tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """A real run: samples hold each head's reward, results name rule and heads."""
    import lm_eval

    results = lm_eval.simple_evaluate(
        "reward",
        model_args={"pretrained": stacked, "combine": "min"},
        device="cpu",
        tasks=["rewardbench-hep-go"],
        task_manager=tasks(data_dir=write_rows(preference_rows("hep-go", 4))),
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    answers = [a for s in results["samples"]["rewardbench-hep-go"] for a in s["filtered_resps"]]
    assert len(answers) == 8 and all(a[0] == min(a[2]["members"]) for a in answers)
    assert {len(a[2]["members"]) for a in answers} == {3}
    alias = results["results"]["rewardbench-hep-go"]["alias"]
    assert alias == "rewardbench-hep-go [ensemble of rewards (min)]"
    config = results["config"]
    assert (config["combine"], config["heads"]) == ("min", [Path(name).name for name in members])
