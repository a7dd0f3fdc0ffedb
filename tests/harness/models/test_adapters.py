"""`--model reward-adapters`: each expert is what `--model reward` with its adapter alone gives.

The adapters are saved by PEFT, as TRL and `dogerm train reward` save theirs.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import HarnessError
from tests.harness.conftest import CHATML, preference_rows
from tests.harness.models.load.test_adapters import OTHER, base, own, trained
from tests.harness.models.test_reward import requests, reward, rewards, some_pairs
from tests.harness.models.test_router import NAMES, ByHash, talks

__all__ = ["base"]  # a fixture

# Ranks, scalings and targets are each adapter's own.
FORMS: dict[str, dict[str, Any]] = {
    "general": {"r": 2},
    "math": {"r": 4, "lora_alpha": 16, "use_rslora": True},
    "code": {"r": 3, "target_modules": ["q_proj", "up_proj", "down_proj"]},
}


@pytest.fixture
def experts(base: Path, tokenizer: Any, tmp_path: Path) -> dict[str, str]:
    """Three adapters of the base, with heads and scalings of their own."""
    places = {}
    for seed, (name, form) in enumerate(FORMS.items(), 21):
        trained(base, tmp_path / name, seed=seed, **form)
        tokenizer.save_pretrained(tmp_path / name)
        places[name] = str(tmp_path / name)
    return places


def adapters(base: Any, experts: Any, **arguments: Any) -> Any:
    from harness.models.adapters import RewardAdapters

    given = {"device": "cpu", "batch_size": 4, "dtype": "float32", **arguments}
    return RewardAdapters(None if base is None else str(base), adapters=experts, **given)


def alone(base: Path, experts: dict[str, str], asked: Any, **given: Any) -> dict[str, list[float]]:
    """What `--model reward peft=` gives, by expert."""
    given = {"dtype": "float32", **given}
    return {n: rewards(reward(base, peft=p, **given), asked) for n, p in experts.items()}


ASKED = talks(some_pairs(8))


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
@pytest.mark.parametrize("mixed", [False, True])
def test_each_row_has_the_reward_of_its_adapter_alone(
    base: Path, experts: dict[str, str], mixed: bool, batch_size: Any
) -> None:
    """In any order, in any batch, in packs that share beginnings or mixed."""
    expected = alone(base, experts, ASKED)
    model = adapters(base, experts, router=ByHash(), mixed=mixed, batch_size=batch_size)
    assert model.reward.scorer.shares_prefixes
    pairs = list(range(0, len(ASKED), 2))
    seen = set()
    for _ in range(2):
        order = [pair + side for pair in pairs for side in (0, 1)]
        answers = model.loglikelihood(requests([ASKED[place] for place in order]), True)
        for place, (score, _, details) in zip(order, answers, strict=True):
            assert score == pytest.approx(expected[details["expert"]][place], abs=1e-5)
            seen.add(details["expert"])
        random.Random(1).shuffle(pairs)
    assert seen == set(NAMES)


def test_a_hundred_switches_change_nothing(base: Path, experts: dict[str, str]) -> None:
    asked = ASKED[:4]
    expected = alone(base, experts, asked)
    model = adapters(base, experts, always="math")
    draw = random.Random(2)
    for _ in range(100):
        name = draw.choice(NAMES)
        found = [one.score for one in model.score_with(name, requests(asked), True)]
        assert found == pytest.approx(expected[name], abs=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
def test_every_expert_scores_every_row(base: Path, experts: dict[str, str], mixed: bool) -> None:
    """Equal conversations asked of several experts, and of one twice."""
    asked = [*ASKED, *ASKED[:4]]
    expected = alone(base, experts, asked)
    model = adapters(base, experts, router=ByHash(), all_experts=True, mixed=mixed)
    for place, answer in enumerate(model.loglikelihood(requests(asked), True)):
        for name, found in answer[2]["experts"].items():
            assert found == pytest.approx(expected[name][place], abs=1e-5)


MORE: dict[str, dict[str, Any]] = {
    "embeddings": {"modules_to_save": ["embed_tokens", "score"]},
    "single tokens": {"trainable_token_indices": [9, 40]},
    "other tokens": {"trainable_token_indices": [40, 41, 42]},
    "lora on embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "DoRA": {"use_dora": True},
    "patterns": {"rank_pattern": {"layers.0.*": 4}, "alpha_pattern": {"layers.1.*": 16}},
}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("embeddings", "patterns"),
        ("patterns", "embeddings"),
        ("single tokens", "other tokens"),
        ("lora on embeddings", "patterns"),
        ("patterns", "lora on embeddings"),
        ("DoRA", "patterns"),
    ],
)
def test_unlike_forms_take_turns(
    first: str, second: str, base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    places = {}
    for seed, (name, form) in enumerate((("a", first), ("b", second))):
        trained(base, tmp_path / name, seed=seed, **MORE[form])
        tokenizer.save_pretrained(tmp_path / name)
        places[name] = str(tmp_path / name)
    asked = ASKED[:6]
    expected = alone(base, places, asked)
    model = adapters(base, places, always="a")
    for name in ("b", "a", "b"):
        found = [one.score for one in model.score_with(name, requests(asked), True)]
        assert found == pytest.approx(expected[name], abs=1e-5)


def test_each_head_keeps_its_digits(base: Path, experts: dict[str, str]) -> None:
    """A bfloat16 base: the heads in the float32 that the adapters store, computed in float32."""
    asked = ASKED[:6]
    expected = alone(base, experts, asked, dtype="bfloat16")
    model = adapters(base, experts, always="code", dtype="bfloat16")
    from safetensors.torch import load_file

    held = dict(model.reward.model.named_parameters())
    for known, place in zip(("default", "expert_001", "expert_002"), experts.values(), strict=True):
        stored = load_file(Path(place) / "adapter_model.safetensors")
        head = held[f"base_model.model.score.modules_to_save.{known}.weight"]
        assert head.equal(stored["base_model.model.score.weight"])
    for name, scores in expected.items():
        found = [one.score for one in model.score_with(name, requests(asked), True)]
        assert found == pytest.approx(scores, abs=1e-5)
    assert model.get_model_info()["model_head_dtype"] == "float32"


@pytest.fixture
def router(base: Path, tokenizer: Any, tmp_path: Path) -> Path:
    """One more adapter of the base: a classifier of prompts with a row for each expert."""
    trained(base, tmp_path / "router", seed=9, labels=3)
    own(tokenizer, CHATML.replace("<|im_end|>", "</s>")).save_pretrained(tmp_path / "router")
    (tmp_path / "router" / "labels.json").write_text(json.dumps(NAMES))
    return tmp_path / "router"


def test_an_adapter_of_the_base_chooses(base: Path, experts: dict[str, str], router: Path) -> None:
    """As transformers and PEFT alone classify the prompt, in its own chat template."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    expected = alone(base, experts, ASKED)
    model = adapters(base, experts, router=str(router))
    answers = model.loglikelihood(requests(ASKED), True)
    again = model.loglikelihood(requests(ASKED), True)
    assert [one[:2] for one in again] == [one[:2] for one in answers]
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    network = PeftModel.from_pretrained(plain, router).eval()
    tokenizer = AutoTokenizer.from_pretrained(router)
    for place, ((context, _), answer) in enumerate(zip(ASKED, answers, strict=True)):
        text = tokenizer.apply_chat_template(context.messages, tokenize=False)
        inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            shares = network(**inputs).logits.softmax(-1)[0].tolist()
        details = answer[2]
        assert list(details["probabilities"].values()) == pytest.approx(shares, abs=1e-5)
        assert answer[0] == pytest.approx(expected[details["expert"]][place], abs=1e-5)
        assert details["kind"] == "routed reward (adapter), not calibrated"
    assert len({one[2]["expert"] for one in answers}) > 1


def test_the_parameters_are_the_bases_once_and_each_adapters(
    base: Path, experts: dict[str, str], router: Path
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModel

    info = adapters(base, experts, router=str(router)).get_model_info()
    sizes = {
        name: sum(t.numel() for t in load_file(Path(p) / "adapter_model.safetensors").values())
        for name, p in {**experts, "router": router}.items()
    }
    assert info["base_num_parameters"] == AutoModel.from_pretrained(base).num_parameters()
    assert {one["name"]: one["model_num_parameters"] for one in info["members"]} == {
        name: sizes[name] for name in experts
    }
    assert info["router_num_parameters"] == sizes["router"]
    assert info["model_num_parameters"] == info["base_num_parameters"] + sum(sizes.values())


def test_a_run_of_lm_eval_by_a_router_file(
    base: Path,
    experts: dict[str, str],
    router: Path,
    tasks: Callable[..., Any],
    write_rows: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A `base:` makes the experts adapters; places are those beside the file."""
    import lm_eval

    rows = [*preference_rows("hep-go", 4), *preference_rows("math-prm", 6, start=4)]
    file = tmp_path / "router.yml"
    content = {"base": "base", "experts": {n: n for n in NAMES}, "router": "router"}
    content |= {"domain": "subset", "domains": {"hep-*": "code", "math-prm": "math"}}
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    results = lm_eval.simple_evaluate(
        "reward-adapters",
        model_args=f"router={file},all_experts=True,dtype=float32",
        device="cpu",
        tasks=["rewardbench_reasoning"],
        task_manager=tasks(data_dir=write_rows(rows)),
        bootstrap_iters=0,
    )
    scores = results["results"]["rewardbench-math-prm"]
    asked = [(r["prompt"], r[s]) for r in rows[4:] for s in ("chosen", "rejected")]
    for name, values in alone(base, experts, asked).items():
        wins = [a > b for a, b in zip(values[::2], values[1::2], strict=True)]
        assert scores[f"accuracy_{name},none"] == pytest.approx(sum(wins) / 6)
    assert scores["accuracy_oracle,none"] == scores["accuracy_math,none"]
    assert scores["alias"].endswith("[routed reward (adapter), not calibrated]")
    assert results["config"]["members"][2]["name"] == "code"


def test_the_cache_knows_each_adapter(
    base: Path, experts: dict[str, str], router: Path, tmp_path: Path
) -> None:
    from lm_eval.api.model import CachingLM

    path = str(tmp_path / "cache.db")
    asked = requests(some_pairs(3))
    chooses = {"router": str(router)}
    first = CachingLM(adapters(base, experts, **chooses), path).loglikelihood(asked)
    again = adapters(base, experts, **chooses)
    assert CachingLM(again, path).loglikelihood(asked) == first
    assert not again.shares
    swapped = {"general": experts["general"], "math": experts["code"], "code": experts["math"]}
    with pytest.raises(HarnessError, match=r"another model .*the expert code .*the expert math"):
        CachingLM(adapters(base, swapped, **chooses), path)
    (router / "labels.json").write_text(json.dumps(NAMES[::-1]))
    with pytest.raises(HarnessError, match=r"another model \(router "):
        CachingLM(adapters(base, experts, **chooses), path)


def _another_base(folder: Path) -> None:
    file = folder / "adapter_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "base_model_name_or_path": "another/model"}))


def _nothing(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def _without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if "score" not in n}, file)


def _of_another_size(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file({n: t.repeat(1, 2) for n, t in load_file(file).items()}, file)


def _another_template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(OTHER)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "none": (_nothing, r"the expert code is no PEFT adapter: .*adapter_config.json"),
    "no head": (_without_head, r"the expert code: .*brings no reward head"),
    "other base": (
        _another_base,
        r"expert code: .*on another/model, and the expert general on",
    ),
    "other size": (_of_another_size, r"the expert code: .*does not fit .*size mismatch"),
    "template": (_another_template, r"the expert code: .*another chat template than the expert g"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_adapter_that_is_none_of_these(base: Path, experts: dict[str, str], damage: str) -> None:
    harm, said = DAMAGE[damage]
    harm(Path(experts["code"]))
    with pytest.raises(HarnessError, match=said) as told:
        adapters(base, experts, always="math")
    assert "\n" not in str(told.value)


UNSOUND: dict[str, tuple[dict[str, Any], str]] = {
    "labels": ({"labels": 3}, r"code: .*a head of 3 labels; an expert gives one reward"),
    "single tokens": (
        {"trainable_token_indices": [9]},
        r"code: .* and the expert general were not both trained with single tokens",
    ),
    "repeated layers": ({"layer_replication": [[0, 2], [1, 2]]}, r"code: .*repeats layers of its"),
    "rows": (
        {"rows": 512, "modules_to_save": ["embed_tokens"]},
        r"code: .*with 512 rows of model.embed_tokens, and the expert general with \d+; a model's",
    ),
    "PiSSA": ({"init_lora_weights": "pissa"}, r"the expert code: .*changes .* of the base itself"),
    "a language model's": ({"auto": "AutoModelForCausalLM"}, r"CAUSAL_LM\) brings no reward head"),
}


@pytest.mark.parametrize("form", UNSOUND)
def test_what_would_not_be_switched_is_refused(
    base: Path, experts: dict[str, str], tokenizer: Any, form: str
) -> None:
    settings, said = UNSOUND[form]
    trained(base, Path(experts["code"]), seed=5, **settings)
    with pytest.raises(HarnessError, match=said) as told:
        adapters(base, experts, always="math")
    assert "\n" not in str(told.value)


def test_trained_biases_are_refused(base: Path, experts: dict[str, str]) -> None:
    """PEFT counts the adapters with biases and lets one through; it would change them for all."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base, attention_bias=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    for name in ("code", "general"):
        trained(base, Path(experts[name]), seed=5, bias="lora_only")
        with pytest.raises(HarnessError, match=rf"the expert {name}: .*_proj.bias of the base its"):
            adapters(base, experts, always="math")


def test_other_types_of_adapters(base: Path, experts: dict[str, str]) -> None:
    from peft import IA3Config, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    kinds = {
        r"code: .*of type IA3, and the expert general of type LORA": IA3Config(
            task_type="SEQ_CLS", target_modules=["v_proj"], feedforward_modules=[]
        ),
        r"code: .*of type PROMPT_TUNING, which puts tokens before": PromptTuningConfig(
            task_type="SEQ_CLS", num_virtual_tokens=2
        ),
    }
    for said, config in kinds.items():
        plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        get_peft_model(plain, config).save_pretrained(experts["code"])
        with pytest.raises(HarnessError, match=said):
            adapters(base, experts, always="math")


def test_what_is_not_mixed_is_refused(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """By what PEFT says (DoRA), and by what it gives (a type that it doesn't mix)."""
    from peft import IA3Config, get_peft_model
    from transformers import AutoModelForSequenceClassification

    for name in ("a", "b"):
        trained(base, tmp_path / name, use_dora=True)
        plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        kind = IA3Config(task_type="SEQ_CLS", target_modules=["v_proj"], feedforward_modules=[])
        get_peft_model(plain, kind).save_pretrained(tmp_path / f"{name}{name}")
    for places, said in (("a b", r"\(Cannot pass .* DoRA is enabled"), ("aa bb", "of type IA3")):
        found = {name: str(tmp_path / name) for name in places.split()}
        first = places.split()[0]
        adapters(base, found, always=first)
        with pytest.raises(HarnessError, match=rf"mixed=True: PEFT does not mix .*{said}"):
            adapters(base, found, always=first, mixed=True)


def test_routers_that_are_for_others(base: Path, experts: dict[str, str], router: Path) -> None:
    file = router / "labels.json"
    chooses = {"router": str(router)}
    file.write_text(json.dumps(["general", "math", "law"]))
    with pytest.raises(HarnessError, match=r"is for other experts: its labels are general, math, "):
        adapters(base, experts, **chooses)
    for content in ('["general", "math"]', '["a", "a", "b"]', '{"a": 1}'):
        file.write_text(content)
        with pytest.raises(HarnessError, match="expected a list of 3 names, all different"):
            adapters(base, experts, **chooses)
    file.write_text("[")
    with pytest.raises(HarnessError, match=r"labels.json: no JSON"):
        adapters(base, experts, **chooses)
    file.unlink()
    with pytest.raises(HarnessError, match=r"its head has 3 rows, and no labels.json says which"):
        adapters(base, experts, **chooses)
    with pytest.raises(HarnessError, match="an adapter whose head gives one number chooses noth"):
        adapters(base, experts, router=experts["math"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nobody chooses among the experts; give router=FOLDER"),
        ({"always": "maths"}, "always names the expert 'maths' (did you mean math?)"),
        ({"always": "math", "peft": "x"}, "peft= is of models that are loaded one by one"),
        ({"always": "math", "max_loaded": 1}, "max_loaded= is of models that are loaded one by"),
        ({"always": "math", "mixed": "yes"}, "mixed=yes is unknown; it is True or False"),
        ({"alway": "math"}, "unknown 'alway'; did you mean 'always'?"),
        ({"router": "./nowhere"}, "router=./nowhere: there is no such folder"),
    ],
)
def test_mistakes_are_one_line(
    base: Path, experts: dict[str, str], arguments: Any, words: str
) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)) as told:
        adapters(base, experts, **arguments)
    assert "\n" not in str(told.value)


def test_each_kind_of_experts_has_its_model(
    base: Path, experts: dict[str, str], router: Path, tmp_path: Path
) -> None:
    """A router file says whether its experts are models or adapters, and both models ask."""
    from harness.models.router import RewardRouter

    file = tmp_path / "router.yml"
    content = {"experts": experts, "router": str(router)}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(HarnessError, match=r"nothing says of which base .* reward-router"):
        adapters(None, None, router=str(file))
    file.write_text(yaml.safe_dump({**content, "base": str(base)}))
    with pytest.raises(HarnessError, match=r"experts are adapters of one base .* reward-adapters"):
        RewardRouter(router=str(file))
    adapters(None, None, router=str(file))
    merge: dict[str, Any] = {"merge_method": "reward_preserving_linear", "base_model": "a"}
    merge["models"] = [{"model": "b", "parameters": {"weight": 0.3}}]
    (tmp_path / "merge.yml").write_text(yaml.safe_dump(merge))
    recipes = tmp_path / "recipes.yml"
    content |= {"base": str(base), "experts": {**experts, "math": "merge.yml"}}
    recipes.write_text(yaml.safe_dump(content))
    with pytest.raises(HarnessError, match=r"the expert math is a recipe .*, which makes a model"):
        adapters(None, None, router=str(recipes))
    models = {"a": str(base), "b": str(base)}
    with pytest.raises(HarnessError, match=r"is an adapter; one of the experts' own base is loade"):
        from tests.harness.models.test_router import router as routed

        merged = tmp_path / "merged"
        whole = trained(base, tmp_path / "a", seed=1).merge_and_unload()
        whole.save_pretrained(merged)
        for file in base.glob("*token*"):
            shutil.copy(file, merged)
        routed(dict.fromkeys(models, str(merged)), router=str(router))
