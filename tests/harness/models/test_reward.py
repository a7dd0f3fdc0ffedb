"""`--model reward` inside lm-eval: the same reward however it is asked for."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.conversation import Conversation
from tests.harness.conftest import CHATML, preference_rows

Save = Callable[..., Path]

TALK = [
    {"role": "user", "content": "What is 1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And 2 + 2?"},
]


def reward(folder: Path | str, **arguments: Any) -> Any:
    from harness.models.reward import Reward

    return Reward(str(folder), **{"device": "cpu", "batch_size": 4, **arguments})


def requests(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [
        Instance("loglikelihood", {}, pair, index % 2, ("a-task", index // 2, 1))
        for index, pair in enumerate(pairs)
    ]


def some_pairs(count: int = 12) -> list[tuple[str, str]]:
    rows = preference_rows("any", count)
    return [(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]


def rewards(model: Any, pairs: Iterable[tuple[str, str]]) -> list[float]:
    answers = model.loglikelihood(requests(pairs), disable_tqdm=True)
    assert all(answer[1] is False for answer in answers)
    return [answer[0] for answer in answers]


def by_transformers(folder: Path, pairs: Iterable[tuple[str, str]], **options: Any) -> list[float]:
    """transformers alone: load, render, one row at a time, model(**inputs).logits."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    values = []
    for prompt, response in pairs:
        turns = getattr(prompt, "messages", [{"role": "user", "content": prompt}])
        inputs = tokenizer.apply_chat_template(
            [*turns, {"role": "assistant", "content": response}],
            return_dict=True,
            return_tensors="pt",
            **options,
        )
        with torch.no_grad():
            values.append(float(model(**inputs).logits))
    return values


def test_the_reward_is_that_of_transformers_alone(reward_model: Path) -> None:
    pairs = [*some_pairs(), (Conversation("shown", TALK), "It is 4.")]
    expected = by_transformers(reward_model, pairs)
    assert rewards(reward(reward_model), pairs) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 8, "auto", "auto:4"])
def test_the_batch_size_and_the_order_change_nothing(reward_model: Path, batch_size: Any) -> None:
    pairs = some_pairs()
    expected = by_transformers(reward_model, pairs)
    model = reward(reward_model, batch_size=batch_size)
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-5)
    assert rewards(model, pairs[::-1])[::-1] == pytest.approx(expected, abs=1e-5)


def test_pad_may_be_eos(save_reward_model: Save, tokenizer: Any, tmp_path: Path) -> None:
    """A trailing EOS is then skipped by the model class, in a padded batch as well."""
    folder = save_reward_model(pad_token_id=tokenizer.eos_token_id)
    template = tmp_path / "template.jinja"
    template.write_text(CHATML + "{{ eos_token }}")
    pairs = some_pairs()
    expected = by_transformers(folder, pairs, chat_template=template.read_text())
    got = rewards(reward(folder, batch_size=8, chat_template=str(template)), pairs)
    assert got == pytest.approx(expected, abs=1e-5)
    assert got == pytest.approx(rewards(reward(folder), pairs), abs=1e-5)


def test_bfloat16_takes_the_same_decisions(save_reward_model: Save) -> None:
    """Where the fp32 margin is above the noise of bf16."""
    folder = save_reward_model(dtype="bfloat16")
    pairs = some_pairs(30)
    exact = by_transformers(folder, pairs)
    fast = rewards(reward(folder, dtype="bfloat16", batch_size=8), pairs)
    for (a, b), (c, d) in zip(_by_two(exact), _by_two(fast), strict=True):
        assert (a > b) == (c > d) or abs(a - b) < 0.1


def _by_two(values: list[float]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))


def test_a_loaded_model_is_taken_as_it_is(reward_model: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForSequenceClassification

    from harness.models.reward import Reward

    loaded = AutoModelForSequenceClassification.from_pretrained(reward_model)
    model = Reward(loaded, tokenizer=tokenizer, batch_size=4)
    pairs = some_pairs(3)
    assert rewards(model, pairs) == pytest.approx(by_transformers(reward_model, pairs), abs=1e-5)


def test_equal_conversations_are_scored_once(reward_model: Path) -> None:
    model = reward(reward_model)
    pairs = some_pairs(3)
    twice = rewards(model, pairs + pairs)
    assert twice[: len(pairs)] == twice[len(pairs) :]
    assert model.scored_rows == len(pairs)


def test_truncated_rows_are_counted_and_reported(
    reward_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = reward(reward_model, max_length=40)
    long = [("What is it? " * 20, "Paris."), ("What?", "Paris.")]
    with caplog.at_level(logging.WARNING):
        values = rewards(model, long)
    assert "1 of 2 conversations were longer than max_length=40" in caplog.text
    info = model.get_model_info()
    assert (info["truncated_rows"], info["scored_rows"], info["max_length"]) == (1, 2, 40)
    assert info["model_head_dtype"] == "float32"
    assert info["chat_template_source"] == "tokenizer: default"
    ids, _ = model.encoder.encode(
        [{"role": "user", "content": long[0][0]}, {"role": "assistant", "content": "Paris."}]
    )
    assert len(ids) == 40 and values[0] == pytest.approx(model.scorer([ids])[0], abs=1e-5)


def test_a_reward_that_is_no_number_names_its_row(reward_model: Path) -> None:
    import torch

    model = reward(reward_model)
    with torch.no_grad():
        model.model.score.weight.fill_(float("nan"))
    with pytest.raises(HarnessError, match=r"task a-task, document 0, response . .prompt 'What"):
        rewards(model, some_pairs(1))


def test_memory_that_runs_out_halves_an_automatic_batch(reward_model: Path) -> None:
    model = reward(reward_model, batch_size="auto", share_prefix=False)
    expected = rewards(model, some_pairs())
    scorer, sizes = model.scorer, []

    class Cramped:
        may_share_batch = staticmethod(scorer.may_share_batch)
        sharing = None

        def __call__(self, ids: list[list[int]]) -> list[float]:
            sizes.append(len(ids))
            if len(ids) > 4:
                raise RuntimeError("CUDA out of memory.")
            return scorer(ids)

    model.scorer = Cramped()
    assert rewards(model, some_pairs()) == pytest.approx(expected, abs=1e-5)
    assert max(sizes) > 4 and sizes[-1] <= 4


def test_other_kinds_of_task_are_refused(reward_model: Path) -> None:
    model = reward(reward_model)
    with pytest.raises(HarnessError, match="a-task asks the model to write"):
        model.generate_until(requests([("a", "b")]))
    with pytest.raises(HarnessError, match="perplexity of a text; a reward model only scores"):
        model.loglikelihood_rolling(requests([("a", "b")]))


def test_unknown_arguments_are_refused(reward_model: Path) -> None:
    with pytest.raises(HarnessError, match="share_prefix=no is unknown; it is True, False, p"):
        reward(reward_model, share_prefix="no")
    with pytest.raises(HarnessError, match="float32 or auto"):
        reward(reward_model, head_dtype="float8")
    with pytest.raises(HarnessError, match="loads a language model"):
        reward(reward_model, autogptq=True)
    with pytest.raises(HarnessError, match="chat_template=other"):
        reward(reward_model).chat_template("other")
    assert reward(reward_model).chat_template("default") == CHATML
    assert reward(reward_model, head_dtype="auto").scorer.head_dtype == "the model's own"


@pytest.mark.parametrize("system", [None, "Answer in one word."])
def test_apply_chat_template_changes_no_bit(
    reward_model: Path, tasks: Callable[..., Any], write_rows: Callable[..., Path], system: Any
) -> None:
    """Text prompts, multi-turn prompts and a system instruction, with the flag and without."""
    import lm_eval

    rows = preference_rows("hep-go", 6)
    rows[0]["prompt"] = TALK
    manager = tasks(data_dir=write_rows(rows))
    model = reward(reward_model)

    def run(**options: Any) -> list[Any]:
        results = lm_eval.simple_evaluate(
            model,
            tasks=["rewardbench-hep-go"],
            task_manager=manager,
            system_instruction=system,
            bootstrap_iters=0,
            **options,
        )
        return [sample["filtered_resps"] for sample in results["samples"]["rewardbench-hep-go"]]

    plain = run()
    assert run(apply_chat_template=True, fewshot_as_multiturn=True) == plain
    assert run(apply_chat_template=True, fewshot_as_multiturn=False, num_fewshot=3) == plain
    first = [{"role": "system", "content": system}, *TALK] if system else TALK
    expected = by_transformers(reward_model, [(Conversation("", first), rows[0]["chosen"])])
    assert plain[0][0][0] == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"headdtype": "auto"}, "unknown 'headdtype'; did you mean 'head_dtype'?"),
        ({"no_such_thing": 1}, "no_such_thing"),
    ],
)
def test_misspelt_arguments(reward_model: Path, arguments: dict[str, Any], words: str) -> None:
    """The nearest name where there is one; else what the model class says."""
    with pytest.raises(HarnessError, match=re.escape(words)):
        reward(reward_model, **arguments)


def test_without_a_model() -> None:
    """`pretrianed=x` leaves `pretrained` out: the nearest name is named, or what is lacking."""
    from harness.models.reward import Reward

    with pytest.raises(HarnessError, match="did you mean 'pretrained'"):
        Reward(pretrianed="x")
    with pytest.raises(HarnessError, match="lacks pretrained="):
        Reward()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "foo"}, "dtype=foo is no dtype of torch"),
        ({"dtype": "nn"}, "dtype=nn is no dtype of torch"),
        ({"softmax_dtype": "foo"}, "softmax_dtype=foo is no dtype of torch"),
        ({"mixed_precision_dtype": "auto"}, "mixed_precision_dtype=auto is no dtype of torch"),
        ({"max_length": "abc"}, "max_length=abc is no whole number of 2 or more"),
        ({"max_length": 0}, "max_length=0 is no whole number of 2 or more"),
        ({"max_batch_size": 0}, "max_batch_size=0 is no whole number of 1 or more"),
        ({"batch_size": "abc"}, "batch_size=abc is neither a whole number above 0 nor auto"),
        ({"batch_size": 0}, "batch_size=0 is neither"),
        ({"batch_size": -1}, "batch_size=-1 is neither"),
        ({"batch_size": "auto:x"}, "batch_size=auto:x is neither"),
        ({"backend": "foo"}, "backend=foo is unknown; it is one of default, causal, seq2seq"),
        ({"device": "foo"}, "device=foo is unknown"),
        ({"device": "cuda:99"}, "device=cuda:99 is not here: torch sees"),
        ({"attn_implementation": "foo"}, "attn_implementation=foo: Specified"),
        ({"subfolder": "nope"}, "(subfolder=nope) holds no model that can be loaded"),
        ({"peft": "/nope"}, "peft=/nope: there is no such folder"),
        ({"delta": "/nope"}, "delta=/nope: there is no such folder"),
        ({"delta": "who/what"}, "delta=who/what: can't be loaded"),
        ({"tokenizer": "/nope"}, "tokenizer=/nope: there is no such folder"),
        ({"peft": "a", "delta": "b"}, "peft= and delta= do not go together"),
        ({"load_in_4bit": "yes"}, "load_in_4bit=yes is neither True nor False"),
        ({"bnb_4bit_quant_type": "nf4"}, "bnb_4bit_quant_type= has no effect without load_in_4bit"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "do not go together"),
    ],
)
def test_values_that_make_no_sense(
    reward_model: Path, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)) as caught:
        reward(reward_model, **arguments)
    assert "\n" not in str(caught.value)


def test_values_that_lm_eval_takes(reward_model: Path) -> None:
    """Its command gives device=cuda:0 where the user gives none, whether there is a GPU or not."""
    from harness.models.load.arguments import check

    check({"device": "cuda:0", "batch_size": "auto:4", "max_batch_size": None, "dtype": None})
    model = reward(reward_model, batch_size="2", dtype="bfloat16", max_length=64)
    assert (model.batch_size, str(model.model.dtype), model.max_length) == (2, "torch.bfloat16", 64)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    for text in (None, "{}", '{"model_type": "of-tomorrow"}'):
        if text:
            (tmp_path / "config.json").write_text(text)
        with pytest.raises(HarnessError, match=f"^{tmp_path} holds no model that can be loaded: "):
            reward(tmp_path)


def test_quantization_without_bitsandbytes_is_one_line(
    reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.is_bitsandbytes_available", lambda: False)
    for name in ("load_in_4bit", "load_in_8bit"):
        with pytest.raises(HarnessError, match=f"^{name}=True needs .*: pip install -U bitsandb"):
            reward(reward_model, **{name: True})


def test_quantization_reaches_transformers_as_one_config(
    save_reward_model: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bitsandbytes: no argument of its own, for transformers 5 takes none."""
    import torch
    from transformers import AutoModelForSequenceClassification

    given: dict[str, Any] = {}
    load = AutoModelForSequenceClassification.from_pretrained

    def keep(name: str, *, quantization_config: Any = None, **kwargs: Any) -> Any:
        given.update(kwargs, quantization_config=quantization_config)
        return load(name, **kwargs)

    monkeypatch.setattr("transformers.utils.is_bitsandbytes_available", lambda: True)
    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", keep)
    folder = save_reward_model(seed=4)
    options = {"bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_type": "nf4"}
    reward(folder, load_in_4bit=True, **options)
    config = given["quantization_config"]
    assert config.load_in_4bit and config.bnb_4bit_quant_type == "nf4"
    assert config.bnb_4bit_compute_dtype is torch.bfloat16
    assert not [name for name in given if name.startswith(("load_in", "bnb_"))]
    stored = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": stored}))
    with pytest.raises(HarnessError, match="is stored quantized already; leave out load_in_4bit="):
        reward(folder, load_in_4bit=True)
