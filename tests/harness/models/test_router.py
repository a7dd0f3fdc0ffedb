"""`--model reward-router`: one expert for each prompt, whoever chooses it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import HarnessError
from harness.rows.conversation import Conversation, Turns
from tests.harness.conftest import preference_rows
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs

Save = Callable[..., Path]
NAMES = ("general", "math", "code")


@pytest.fixture(scope="module")
def experts(save_reward_model: Save) -> dict[str, str]:
    return {name: str(save_reward_model(seed=seed)) for seed, name in enumerate(NAMES, 31)}


@pytest.fixture(scope="module")
def classifier(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Path:
    """A classifier of prompts with a label for each expert."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from tests.harness.conftest import sharpened

    labels = {
        "num_labels": 3,
        "id2label": dict(enumerate(NAMES)),
        "label2id": {name: number for number, name in enumerate(NAMES)},
    }
    folder = tmp_path_factory.mktemp("router")
    model = LlamaForSequenceClassification(LlamaConfig(**{**small_config, **labels}))
    sharpened(model, 7).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def router(names: Any, **arguments: Any) -> Any:
    from harness.models.router import RewardRouter

    return RewardRouter(names, **{"device": "cpu", "batch_size": 4, **arguments})


class ByHash:
    """Probabilities that depend on every sign of the prompt, and a record of what was seen."""

    kind = "hash"
    labels = NAMES

    def __init__(self) -> None:
        self.seen: list[Turns] = []

    def probabilities(self, prompts: Sequence[Turns]) -> list[list[float]]:
        rows = []
        for prompt in prompts:
            self.seen.append(prompt)
            drawn = random.Random(json.dumps(prompt)).choices(range(1, 9), k=3)
            rows.append([one / sum(drawn) for one in drawn])
        return rows

    def identity(self) -> dict[str, str]:
        return {"kind": self.kind}


def routed_by(names: Any, by: Any, **arguments: Any) -> Any:
    return router(names, router=by, **arguments)


def talks(pairs: list[tuple[str, str]]) -> list[tuple[Conversation, str]]:
    return [
        (Conversation(prompt, [{"role": "user", "content": prompt}]), response)
        for prompt, response in pairs
    ]


def test_always_one_expert_is_that_model_to_the_bit(experts: dict[str, str]) -> None:
    asked = talks(some_pairs(5))
    answers = router(experts, always="math").loglikelihood(requests(asked), True)
    assert [one[0] for one in answers] == rewards(reward(experts["math"]), asked)
    assert {one[2]["kind"] for one in answers} == {"reward, always math"}
    assert not any(one[2]["within_document"] for one in answers)


def test_equal_experts_are_the_one_model(experts: dict[str, str]) -> None:
    same = dict.fromkeys(NAMES, experts["code"])
    asked = talks(some_pairs(8))
    answers = routed_by(same, ByHash()).loglikelihood(requests(asked), True)
    assert {one[2]["expert"] for one in answers} == set(NAMES)
    expected = rewards(reward(experts["code"]), asked)
    assert [one[0] for one in answers] == pytest.approx(expected, abs=1e-5)


def test_each_row_has_its_own_experts_reward(experts: dict[str, str]) -> None:
    asked = talks(some_pairs(8))
    by_expert = {name: rewards(reward(place), asked) for name, place in experts.items()}
    answers = routed_by(experts, ByHash()).loglikelihood(requests(asked), True)
    for place, (score, _, details) in enumerate(answers):
        assert score == pytest.approx(by_expert[details["expert"]][place], abs=1e-5)
        assert details["expert"] == max(details["probabilities"], key=details["probabilities"].get)
        assert details["kind"] == "routed reward (hash), not calibrated"
        assert details["within_document"] is True


def test_the_candidates_of_a_document_have_one_expert(experts: dict[str, str]) -> None:
    """1,000 documents of random prompts and 2 to 5 random candidates, in any order."""
    from lm_eval.api.instance import Instance

    from harness.models.routing.prompts import Prompts

    draw = random.Random(0)
    asked = []
    for document in range(1000):
        turns = [{"role": "user", "content": f"{document % 700} {draw.random()}"[:6]}]
        for candidate in range(draw.randint(2, 5)):
            context = Conversation("text", turns)
            asked.append(
                Instance("loglikelihood", {}, (context, f"answer {draw.random()}"), candidate)
            )
            asked[-1].task_name, asked[-1].doc_id = "a-task", document
    draw.shuffle(asked)
    by = ByHash()
    model = routed_by(experts, by)
    prompts = Prompts(asked)
    choices, _ = model.choices(asked, prompts)
    expert: dict[int, str] = {}
    places = [place for document in prompts.documents for place in document.requests]
    assert sorted(places) == list(range(len(asked)))
    for document, choice in zip(prompts.documents, choices, strict=True):
        for place in document.requests:
            assert expert.setdefault(asked[place].doc_id, choice.expert) == choice.expert
    assert len(expert) == 1000
    assert not any("answer" in str(turn["content"]) for prompt in by.seen for turn in prompt)
    assert len({json.dumps(prompt) for prompt in by.seen}) == len(by.seen)  # each prompt once


def test_whole_conversations_are_routed_by_what_they_share(experts: dict[str, str]) -> None:
    from harness.models.routing.prompts import Prompts

    start = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    one = Conversation("a", [*start, {"role": "user", "content": "Add 1 and 2."}])
    other = Conversation("b", [*start, {"role": "user", "content": "Write a poem."}])
    unlike = Conversation("c", [{"role": "user", "content": "Bye"}])
    asked = requests([(one, "3"), (other, "Roses"), (one, "3"), (unlike, "Bye!")])
    prompts = Prompts(asked)
    assert [list(prompt) for prompt in prompts] == [start, []]
    with pytest.raises(HarnessError, match=r"document 1, .* share no turn before the answer"):
        routed_by(experts, ByHash()).loglikelihood(asked, True)
    answers = routed_by(experts, ByHash(), fallback="code").loglikelihood(asked, True)
    assert [answer[2]["expert"] for answer in answers[2:]] == ["code", "code"]


CALIBRATION = {
    name: {"mean": mean, "std": std}
    for name, mean, std in zip(NAMES, (1, -2, 0), (2, 5, 0.5), strict=True)
}


def write(path: Path, experts: dict[str, str], **content: Any) -> str:
    path.write_text(yaml.safe_dump({"experts": experts, **content}))
    return str(path)


def test_two_experts_by_their_probabilities(experts: dict[str, str]) -> None:
    asked = talks(some_pairs(6))
    by_expert = {name: rewards(reward(place), asked) for name, place in experts.items()}
    model = routed_by(experts, ByHash(), calibration=CALIBRATION, top=2)
    for place, (score, _, details) in enumerate(model.loglikelihood(requests(asked), True)):
        best = sorted(details["probabilities"].items(), key=lambda pair: -pair[1])[:2]
        total = sum(share for _, share in best)
        expected = sum(
            share
            / total
            * (by_expert[name][place] - CALIBRATION[name]["mean"])
            / CALIBRATION[name]["std"]
            for name, share in best
        )
        assert score == pytest.approx(expected, abs=1e-5)
        assert details["kind"] == "routed reward (hash, top 2)"
        assert details["within_document"] is False


def test_a_bounded_memory_gives_the_same_rewards(experts: dict[str, str]) -> None:
    """Each expert is loaded once a run, those in memory first."""
    asked = requests(talks(some_pairs(9)))
    expected = routed_by(experts, ByHash()).loglikelihood(asked, True)
    model = routed_by(experts, ByHash(), max_loaded=1)
    assert model.loglikelihood(asked, True) == expected
    assert model.pool.loads == 3
    assert model.loglikelihood(asked, True) == expected
    assert model.pool.loads == 5  # the last one was still there
    info = model.get_model_info()
    assert [one["model_num_parameters"] > 0 for one in info["members"]] == [True] * 3
    assert info["model_num_parameters"] == sum(
        one["model_num_parameters"] for one in info["members"]
    )
    assert sum(info["share_of_documents"].values()) == pytest.approx(1)


def test_a_classifier_chooses_as_transformers_says(
    experts: dict[str, str], classifier: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    asked = talks(some_pairs(7))
    answers = router(experts, router=str(classifier)).loglikelihood(requests(asked), True)
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    network = AutoModelForSequenceClassification.from_pretrained(classifier)
    for (context, _), (_, _, details) in zip(asked, answers, strict=True):
        text = tokenizer.apply_chat_template(context.messages, tokenize=False)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            shares = network(**inputs).logits.softmax(-1)[0].tolist()
        assert list(details["probabilities"].values()) == pytest.approx(shares, abs=1e-5)
        assert details["kind"] == "routed reward (classifier), not calibrated"


@pytest.mark.parametrize("kind", ["centroid", "probe"])
def test_a_fitted_router_chooses_by_its_map(
    experts: dict[str, str], tmp_path: Path, kind: str
) -> None:
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    from harness.models.routing import fitted
    from tests.harness.conftest import CHATML

    draw = np.random.default_rng(3)
    tensors = {
        "shift": draw.normal(size=32),
        "scale": draw.uniform(0.5, 2, size=32),
        "weight": draw.normal(size=(3, 32)),
        "bias": draw.normal(size=3),
    }
    made = fitted.LinearRouter(kind, NAMES, temperature=0.7, **tensors)
    fitted.save(made, tmp_path, {"encoder": experts["math"], "template": CHATML})
    asked = talks(some_pairs(7))
    answers = router(experts, router=str(tmp_path)).loglikelihood(requests(asked), True)
    tokenizer = AutoTokenizer.from_pretrained(experts["math"])
    trunk = AutoModel.from_pretrained(experts["math"])
    for (context, _), (_, _, details) in zip(asked, answers, strict=True):
        text = tokenizer.apply_chat_template(context.messages, tokenize=False)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            point = trunk(**inputs)[0][0].mean(0).double().numpy()
        point = (point - tensors["shift"]) / tensors["scale"]
        point = point / np.linalg.norm(point) if kind == "centroid" else point
        logits = (tensors["weight"] @ point + tensors["bias"]) / 0.7
        shares = np.exp(logits) / np.exp(logits).sum()
        assert list(details["probabilities"].values()) == pytest.approx(shares, abs=1e-4)
        assert details["kind"] == f"routed reward ({kind}), not calibrated"


def test_a_run_of_lm_eval_with_all_that_the_router_is_compared_with(
    experts: dict[str, str],
    classifier: Path,
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Each expert alone, the oracle, the router's accuracy and shares are in the table."""
    import lm_eval

    rows = [*preference_rows("hep-go", 6), *preference_rows("math-prm", 8, start=6)]
    file = tmp_path / "router.yml"
    content = {"router": str(classifier), "domain": "subset", "experts": experts}
    content["domains"] = {"hep-*": "code", "math-prm": "math"}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    results = lm_eval.simple_evaluate(
        "reward-router",
        model_args=f"router={file},all_experts=True",
        device="cpu",
        tasks=["rewardbench_reasoning"],
        task_manager=tasks(data_dir=write_rows(rows)),
        bootstrap_iters=0,
    )
    scores = results["results"]["rewardbench-math-prm"]
    samples = results["samples"]["rewardbench-math-prm"]
    details = [sample["filtered_resps"][0][2] for sample in samples]
    for name in NAMES:
        alone = rewards(
            reward(experts[name]),
            [(r["prompt"], r[s]) for r in rows[6:] for s in ("chosen", "rejected")],
        )
        wins = [a > b for a, b in zip(alone[::2], alone[1::2], strict=True)]
        assert scores[f"accuracy_{name},none"] == pytest.approx(sum(wins) / 8)
        share = sum(one["expert"] == name for one in details) / 8
        assert scores[f"share_{name},none"] == pytest.approx(share)
    assert scores["accuracy_oracle,none"] == scores["accuracy_math,none"]
    assert {one["domain"] for one in details} == {"math"}
    right = sum(one["expert"] == "math" for one in details) / 8
    assert scores["router_accuracy,none"] == pytest.approx(right)
    assert scores["alias"].endswith("[routed reward (classifier), not calibrated]")
    group = results["results"]["rewardbench_reasoning"]
    assert {"accuracy_oracle,none", "router_accuracy,none", "accuracy_code,none"} <= group.keys()
    assert sum(group[f"share_{name},none"] for name in NAMES) == pytest.approx(1)
    assert results["config"]["members"][1]["name"] == "math"


def test_the_oracle_goes_by_a_column(
    experts: dict[str, str], tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    import lm_eval

    rows = [*preference_rows("hep-go", 4), *preference_rows("math-prm", 4, start=4)]
    given = {"device": "cpu", "bootstrap_iters": 0, "tasks": ["rewardbench_reasoning"]}
    given["task_manager"] = tasks(data_dir=write_rows(rows))
    arguments = {"pretrained": experts, "router": "oracle", "domain": "subset"}
    with pytest.raises(HarnessError, match="its subset is 'math-prm', and no expert is for that"):
        lm_eval.simple_evaluate("reward-router", model_args=arguments, **given)
    arguments |= {"domains": {"math-prm": "math"}, "fallback": "general"}
    results = lm_eval.simple_evaluate("reward-router", model_args=arguments, **given)
    scores = results["results"]
    assert scores["rewardbench-math-prm"]["share_math,none"] == 1
    assert scores["rewardbench-math-prm"]["router_accuracy,none"] == 1
    assert scores["rewardbench-hep-go"]["share_general,none"] == 1
    assert "router_accuracy,none" not in scores["rewardbench-hep-go"]
    with pytest.raises(HarnessError, match=r"no column topic \(it has: .*subset.*\); name"):
        arguments = {"pretrained": experts, "router": "oracle", "domain": "topic"}
        lm_eval.simple_evaluate("reward-router", model_args=arguments, **given)
    with pytest.raises(HarnessError, match="none of 8 documents has a column topic, so all would"):
        arguments |= {"fallback": "general"}
        lm_eval.simple_evaluate("reward-router", model_args=arguments, **given)


def test_rewards_of_unlike_scales_are_not_compared_across_prompts(
    experts: dict[str, str], tasks: Callable[..., Any], tmp_path: Path
) -> None:
    asked = requests(talks(some_pairs(3)))
    calibrated = routed_by(experts, ByHash(), calibration=CALIBRATION)
    raw = routed_by(experts, ByHash()).loglikelihood(asked, True)
    for (reward_, _, details), (score, _, told) in zip(
        raw, calibrated.loglikelihood(asked, True), strict=True
    ):
        scale = CALIBRATION[details["expert"]]
        assert score == pytest.approx((reward_ - scale["mean"]) / scale["std"], abs=1e-5)
        assert (told["kind"], told["within_document"]) == ("routed reward (hash)", False)


def test_a_calibration_of_other_weights_is_refused(experts: dict[str, str]) -> None:
    from harness.models.routing.experts import of_folder

    scales = {n: {**CALIBRATION[n], "files": of_folder(place)} for n, place in experts.items()}
    routed_by(experts, ByHash(), calibration=scales)
    scales["math"]["files"] = scales["code"]["files"]
    with pytest.raises(HarnessError, match=r"the expert math: its calibration \(mean -2, std 5\)"):
        routed_by(experts, ByHash(), calibration=scales)


def test_the_cache_knows_the_experts_and_the_router(
    experts: dict[str, str], classifier: Path, tmp_path: Path
) -> None:
    from lm_eval.api.model import CachingLM

    path = str(tmp_path / "cache.db")
    asked = requests(some_pairs(3))
    first = CachingLM(router(experts, router=str(classifier)), path).loglikelihood(asked)
    again = router(experts, router=str(classifier))
    assert CachingLM(again, path).loglikelihood(asked) == first
    assert not again.shares
    swapped = {"general": experts["math"], "math": experts["general"], "code": experts["code"]}
    with pytest.raises(HarnessError, match=r"written by another model .*expert general"):
        CachingLM(router(swapped, router=str(classifier)), path)
    with pytest.raises(HarnessError, match="domain= looks at a column beside them"):
        CachingLM(router(experts, router="oracle", domain="x"), str(tmp_path / "other.db"))


def test_the_cache_keeps_no_row_whose_conversation_does_not_tell_its_prompt(
    experts: dict[str, str], tmp_path: Path
) -> None:
    """One conversation beside two others: each pair is routed by what its two sides share."""
    from lm_eval.api.model import CachingLM

    def talk(*texts: str) -> tuple[Conversation, str]:
        turns = [
            {"role": ("user", "assistant")[place % 2], "content": text}
            for place, text in enumerate(texts[:-1])
        ]
        return Conversation(" ".join(texts[:-1]), turns), texts[-1]

    pairs = []
    for number in range(6):
        one = talk(f"Hi {number}", "Yes?", "Add 1 and 2.", "3")
        pairs += [one, talk(f"Hi {number}", "No.", "Add 1 and 2.", "3")]
        pairs += [one, talk(f"Hi {number}", "Yes?", "Add 1 and 3.", "4")]
    plain = talks(some_pairs(2))
    asked = requests([*pairs, *plain])
    expected = routed_by(experts, ByHash()).loglikelihood(asked, True)
    of_pairs = [answer[2]["expert"] for answer in expected[:-4]]
    assert any(of_pairs[place] != of_pairs[place + 2] for place in range(0, len(pairs), 4))
    path = str(tmp_path / "cache.db")
    firsts = [asked[place] for place in range(len(pairs)) if place % 4 < 2]
    CachingLM(routed_by(experts, ByHash()), path).loglikelihood(firsts)
    model = routed_by(experts, ByHash())
    assert CachingLM(model, path).loglikelihood(asked) == expected
    again = routed_by(experts, ByHash())
    assert CachingLM(again, path).loglikelihood(asked) == expected
    assert again.shares.total() == 12  # the plain ones were kept


def test_probabilities_that_are_no_numbers_are_refused(experts: dict[str, str]) -> None:
    class Overflown(ByHash):
        def probabilities(self, prompts: Sequence[Turns]) -> list[list[float]]:
            return [*super().probabilities(prompts)[1:], [float("nan")] * 3]

    with pytest.raises(HarnessError, match=r"document 2, .* probabilities are nan, nan, nan, so"):
        routed_by(experts, Overflown()).loglikelihood(requests(talks(some_pairs(3))), True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nobody chooses among the experts; give router=FOLDER"),
        ({"always": "maths"}, "always names the expert 'maths' (did you mean math?)"),
        ({"always": "math", "router": "oracle"}, "two ways to choose: give one"),
        ({"router": "oracle"}, "router=oracle needs domain=COLUMN"),
        ({"always": "math", "fallback": "chat"}, "fallback names the expert 'chat'"),
        ({"always": "math", "threshold": 0.5}, "threshold=0.5 needs a fallback=NAME"),
        ({"always": "math", "threshold": 2}, "`threshold` is 2: input should be less than or"),
        ({"always": "math", "top": 2}, "top=2 adds rewards of several experts"),
        ({"always": "math", "top": 4}, "top=4: there are 3 experts"),
        ({"always": "math", "max_loaded": 0}, "max_loaded=0 is no whole number of 1 or more"),
        ({"always": "math", "all_experts": "yes"}, "all_experts=yes is unknown; it is True or"),
        ({"always": "math", "peft": "x"}, "peft= is of one model, and here are 3; give reward-a"),
        ({"alway": "math"}, "unknown 'alway'; did you mean 'always'?"),
        ({"router": "./nowhere"}, "router=./nowhere: there is no such folder"),
    ],
)
def test_mistakes_are_one_line(experts: dict[str, str], arguments: Any, words: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)) as told:
        router(experts, **arguments)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "a router chooses among two or more experts, and here are 0"),
        ({"expert": {}}, "unknown key 'expert' (did you mean experts?)"),
        ({"experts": {"a": "x", "b c": "y"}, "router": "oracle"}, "the expert 'b c' has a name of"),
        ({"experts": {"a": "x"}, "router": "oracle"}, "and here are 1; for one use --model reward"),
        (
            {"experts": {"a": "x", "oracle": "y"}, "router": "r"},
            "the expert 'oracle' has a name tha",
        ),
        ({"experts": ["a"]}, "`experts` is ['a']: input should be a valid dictionary"),
        ({"experts": {"a": "x", "b": "y"}, "router": {"never": "a"}}, "router is {'never': 'a'}"),
        (
            {"experts": {"a": "x", "b": "y"}, "router": "r", "calibration": {"a": {"mean": 1}}},
            "`calibration.a.std` is {'mean': 1}: field required",
        ),
        (
            {
                "experts": {"a": "x", "b": "y"},
                "router": "r",
                "calibration": {"a": {"mean": 1, "std": 1}},
            },
            "calibration has no b; give the scale of every expert or of none",
        ),
        ({"experts": {"a": "x", "b": "y"}, "router": "r", "domains": {"c": "d"}}, "domains names"),
    ],
)
def test_mistakes_in_a_router_file(tmp_path: Path, content: Any, words: str) -> None:
    file = tmp_path / "router.yml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(HarnessError, match=re.escape(words)) as told:
        router(None, router=str(file))
    assert "\n" not in str(told.value)


def test_an_unreadable_router_file(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"nowhere.yml: No such file or directory"):
        router(None, router=str(tmp_path / "nowhere.yml"))
    (tmp_path / "router.yml").write_text("experts: [")
    with pytest.raises(HarnessError, match=r"router.yml: not YAML"):
        router(None, router=str(tmp_path / "router.yml"))


def test_experts_and_routers_that_are_none(
    experts: dict[str, str], classifier: Path, language_model: Path, tmp_path: Path, tokenizer: Any
) -> None:
    import copy

    chooses = {"router": str(classifier)}
    with pytest.raises(HarnessError, match=r"the expert code: .* random head"):
        router({**experts, "code": str(language_model)}, **chooses)
    with pytest.raises(HarnessError, match=r"the expert code: .* has no reward head of one number"):
        router({**experts, "code": str(language_model)}, **chooses, max_loaded=1)
    others = {"general": experts["general"], "law": experts["math"], "code": experts["code"]}
    with pytest.raises(HarnessError, match=r"is for other experts: its labels are general, math, "):
        router(others, **chooses)
    with pytest.raises(HarnessError, match="none is for 'law'"):
        router({**experts, "law": experts["code"]}, **chooses)
    with pytest.raises(HarnessError, match=r"a classifier of 1 label .* a reward model is no rout"):
        router(experts, router=experts["math"])
    with pytest.raises(HarnessError, match="so its head would be random; a router is a text"):
        router(experts, router=str(language_model))
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    import shutil

    shutil.copytree(classifier, tmp_path / "bare", ignore=shutil.ignore_patterns("*.jinja"))
    bare.save_pretrained(tmp_path / "bare")
    with pytest.raises(HarnessError, match="its tokenizer has no chat template, so nothing says"):
        router(experts, router=str(tmp_path / "bare"))
    made = router(experts, router=str(tmp_path / "bare"), router_template="plain")
    assert made.router.encoder.render([{"role": "user", "content": "Hi"}]).startswith("<s>User: Hi")
