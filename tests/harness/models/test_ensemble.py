"""`--model reward-ensemble`: every member's reward, and one number made of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.models.combine import combine
from harness.rows.conversation import Conversation
from tests.harness.conftest import CHATML, preference_rows
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def members(save_reward_model: Save) -> list[str]:
    """Three models; the last has another chat template."""
    from transformers import AutoTokenizer

    folders = [save_reward_model(seed=seed) for seed in (21, 22, 23)]
    other = AutoTokenizer.from_pretrained(folders[2])
    other.chat_template = CHATML.replace("\n", " ")
    other.save_pretrained(folders[2])
    return [str(folder) for folder in folders]


def ensemble(names: Any, **arguments: Any) -> Any:
    from harness.models.ensemble import RewardEnsemble

    return RewardEnsemble(names, **{"device": "cpu", "batch_size": 4, **arguments})


def by_member(names: list[str], pairs: list[Any]) -> list[tuple[float, ...]]:
    return list(zip(*[rewards(reward(name), pairs) for name in names], strict=True))


@pytest.mark.parametrize(
    ("rule", "k", "kind"),
    [
        ("mean", None, "ensemble of rewards (mean)"),
        ("min", None, "ensemble of rewards (min)"),
        ("mean-std", None, "ensemble of rewards (mean - 1 std)"),
        ("mean-std", 0.5, "ensemble of rewards (mean - 0.5 std)"),
        ("rank-mean", None, "ensemble of rewards (rank-mean)"),
    ],
)
def test_each_rule_on_its_members_rewards(
    members: list[str], rule: str, k: float | None, kind: str
) -> None:
    pairs = [
        (Conversation(prompt, [{"role": "user", "content": prompt}]), response)
        for prompt, response in some_pairs(4)
    ]
    expected = by_member(members, pairs)
    answers = ensemble(members, combine=rule, k=k).loglikelihood(requests(pairs), True)
    for first in range(0, len(pairs), 2):
        document = answers[first : first + 2]
        combined = combine(rule, expected[first : first + 2], 1.0 if k is None else k)
        assert [answer[0] for answer in document] == pytest.approx(combined, abs=1e-5)
    for answer, rows in zip(answers, expected, strict=True):
        assert answer[2]["members"] == pytest.approx(rows, abs=1e-5)
        assert (answer[1], answer[2]["kind"], answer[2]["truncated"]) == (False, kind, False)
        assert answer[2]["within_document"] is (rule == "rank-mean")


def test_a_repeated_request_does_not_change_a_rank(members: list[str]) -> None:
    """lm-eval repeats requests so that every process has as many."""
    asked = requests(some_pairs(2))
    model = ensemble(members, combine="rank-mean")
    plain = model.loglikelihood(asked, True)
    assert model.loglikelihood([*asked, asked[-1], asked[-1]], True) == [*plain, *plain[-1:] * 2]
    assert {answer[0] for answer in plain} <= {1.0, 4 / 3, 1.5, 5 / 3, 2.0}


def test_one_truncated_member_is_told(members: list[str]) -> None:
    long = Conversation("", [{"role": "user", "content": "What is it? " * 20}])
    (answer,) = ensemble(members, max_length=40).loglikelihood(requests([(long, "Paris.")]), True)
    assert answer[2]["truncated"] is True


def test_other_tasks_get_what_lm_eval_unpacks(members: list[str]) -> None:
    (answer,) = ensemble(members[:2]).loglikelihood(requests([("What?", " Paris.")]), True)
    assert len(answer) == 2
    model = ensemble(members[:2])
    with pytest.raises(HarnessError, match="asks the model to write"):
        model.generate_until(requests([("a", "b")]))
    with pytest.raises(HarnessError, match="perplexity of a text"):
        model.loglikelihood_rolling(requests([("a", "b")]))


@pytest.mark.parametrize(
    ("names", "arguments", "words"),
    [
        (None, {}, "two or more members, pretrained=None gives 0"),
        ("only/one", {}, "pretrained=only/one gives 1; write --model_args 'pretrained=A;B'"),
        ("a;", {}, "pretrained=a; gives 1"),
        ("a;b", {"combine": "median"}, "combine=median is unknown; it is one of mean, min, mean-"),
        ("a;b", {"combine": "min", "k": 2}, "k=2 is for combine=mean-std"),
        ("a;b", {"combine": "mean-std", "k": -1}, "k=-1 is not 0 or a positive number"),
        ("./nowhere;b", {}, "pretrained=./nowhere: there is no such folder"),
        ("b;./nowhere", {}, "pretrained=./nowhere: there is no such folder"),
        ("a;b", {"combne": "min"}, "unknown 'combne'; did you mean 'combine'?"),
        ("a;b", {"hed_dtype": "auto"}, "unknown 'hed_dtype'; did you mean 'head_dtype'?"),
        ("a;b;a", {}, "pretrained= names a twice"),
    ],
)
def test_wrong_arguments(names: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)):
        ensemble(names, **arguments)


def test_a_member_that_is_no_reward_model_is_named(
    members: list[str], language_model: Path
) -> None:
    with pytest.raises(HarnessError, match=re.escape(f"{language_model} (LlamaForCausalLM) is a")):
        ensemble([members[0], str(language_model)])


def test_a_folder_named_in_two_ways_is_one_member(members: list[str], tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(members[0])
    with pytest.raises(HarnessError, match=re.escape(f"names {members[0]} twice")):
        ensemble([members[0], members[1], str(link)])


def test_a_folder_name_that_lm_eval_cannot_make_is_told(
    members: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    from harness.models.ensemble_members import member_names

    assert member_names(";".join(members)) == members
    assert "more than the 255" not in caplog.text
    member_names(";".join(f"an-organisation/a-model-{number:030}" for number in range(9)))
    assert "more than the 255 of a file name: with --output_path, give a file" in caplog.text


def test_the_cache_knows_all_members_and_the_rule(members: list[str], tmp_path: Path) -> None:
    from lm_eval.api.model import CachingLM

    path = str(tmp_path / "cache.db")
    asked = requests(some_pairs(2))
    first = CachingLM(ensemble(members[:2]), path).loglikelihood(asked)
    again = ensemble(members[:2])
    assert CachingLM(again, path).loglikelihood(asked) == first
    assert again.members[0].scored_rows == 0
    for other, named in ((ensemble(members[1:]), "member 1"), (ensemble(members), "member 3")):
        with pytest.raises(HarnessError, match=f"written by another model .*{named} "):
            CachingLM(other, path)
    with pytest.raises(HarnessError, match=r"kind ensemble of rewards \(mean\) -> .*\(min\)"):
        CachingLM(ensemble(members[:2], combine="min"), path)
    with pytest.raises(HarnessError, match="does not go with combine=rank-mean"):
        CachingLM(ensemble(members, combine="rank-mean"), str(tmp_path / "other.db"))


def test_a_run_of_lm_eval(
    members: list[str], tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """A real run, given as on the command line: samples, table and results name the members."""
    import lm_eval

    rows = preference_rows("hep-go", 6)
    results = lm_eval.simple_evaluate(
        "reward-ensemble",
        model_args={"pretrained": ";".join(members), "combine": "min"},
        device="cpu",
        tasks=["rewardbench-hep-go"],
        task_manager=tasks(data_dir=write_rows(rows)),
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    pairs = [(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    expected = by_member(members, pairs)
    samples = results["samples"]["rewardbench-hep-go"]
    answers = [answer for sample in samples for answer in sample["filtered_resps"]]
    for answer, values in zip(answers, expected, strict=True):
        assert answer[0] == pytest.approx(min(values), abs=1e-5)
        assert answer[2]["members"] == pytest.approx(values, abs=1e-5)
    lowest = [min(values) for values in expected]
    wins = [a > b for a, b in zip(lowest[::2], lowest[1::2], strict=True)]
    scores = results["results"]["rewardbench-hep-go"]
    assert scores["accuracy,none"] == pytest.approx(sum(wins) / 6)
    assert scores["alias"] == "rewardbench-hep-go [ensemble of rewards (min)]"
    config = results["config"]
    assert config["combine"] == "min" and "k" not in config
    assert [member["pretrained"] for member in config["members"]] == members
    assert {member["scored_rows"] for member in config["members"]} == {12}
