"""`--model reward-implicit`: β(log π − log π_ref), as a plain loop over each model gives it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.rows.conversation import Conversation, Response
from tests.harness.conftest import preference_rows, sharpened
from tests.harness.models.test_reward import TALK, requests, rewards, some_pairs

Save = Callable[..., Path]


@pytest.fixture(scope="module")
def save_language_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: dict[str, Any]
) -> Save:
    """Makes and saves a tiny Llama language model; keyword arguments change its config."""

    def save(*, seed: int = 0, **changes: Any) -> Path:
        from transformers import LlamaConfig, LlamaForCausalLM

        options = {k: v for k, v in small_config.items() if k != "num_labels"}
        folder = tmp_path_factory.mktemp("language-model")
        model = sharpened(LlamaForCausalLM(LlamaConfig(**{**options, **changes})), seed)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="module")
def policy(save_language_model: Save) -> Path:
    return save_language_model(seed=11)


def implicit(folder: Path | str, **arguments: Any) -> Any:
    from harness.models.implicit import RewardImplicit

    return RewardImplicit(str(folder), **{"device": "cpu", "batch_size": 4, **arguments})


def by_transformers(
    policy: Path, reference: Path | None, normalize: str, beta: float, pairs: Iterable[Any]
) -> list[float]:
    """transformers alone, one row and one token at a time, over full logits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(policy)
    models = [
        (sign, AutoModelForCausalLM.from_pretrained(folder).eval())
        for sign, folder in ((1, policy), (-1, reference))
        if folder
    ]
    values = []
    for prompt, response in pairs:
        turns = getattr(prompt, "messages", [{"role": "user", "content": prompt}])
        before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        after = f"{response}<|im_end|>\n"
        first = tokenizer(before, add_special_tokens=False)["input_ids"]
        answer = tokenizer(after, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([first + answer])
        value = 0.0
        for sign, model in models:
            with torch.no_grad():
                chances = model(input_ids=ids).logits.log_softmax(-1)[0]
            for place in range(len(first), ids.shape[1]):
                value += sign * float(chances[place - 1, ids[0, place]])
        values.append(beta * value / (len(answer) if normalize == "mean" else 1))
    return values


@pytest.mark.parametrize("normalize", ["sum", "mean"])
@pytest.mark.parametrize("with_reference", [True, False])
def test_it_is_what_a_plain_loop_gives(
    policy: Path, language_model: Path, normalize: str, with_reference: bool
) -> None:
    reference = language_model if with_reference else None
    pairs = [*some_pairs(), (Conversation("shown", TALK), "It is 4.")]
    expected = by_transformers(policy, reference, normalize, 0.3, pairs)
    assert max(expected) - min(expected) > 0.1
    options = {"reference": str(reference)} if reference else {}
    model = implicit(policy, normalize=normalize, beta=0.3, **options)
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-5)


def test_one_conversation_with_two_answers(
    policy: Path, language_model: Path, tmp_path: Path
) -> None:
    """The same turns are two rows where another number of them is the answer."""
    from harness.models.score.kept_answers import KeptAnswers

    steps = [
        {"role": "assistant", "content": "Let me count."},
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "It is 4."},
    ]
    whole = Conversation("a", TALK), Response(steps)
    last = Conversation("b", [*TALK, *steps[:2]]), "It is 4."
    apart = [rewards(implicit(policy, reference=language_model), [one])[0] for one in (whole, last)]
    assert abs(apart[0] - apart[1]) > 0.01
    model = implicit(policy, reference=language_model)
    assert rewards(model, [whole, last]) == pytest.approx(apart, abs=1e-6)
    kept = KeptAnswers(model, str(tmp_path / "kept.db"))
    answers = [kept.loglikelihood(requests([one]))[0][0] for one in (whole, last)]
    assert answers == pytest.approx(apart, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 8, "auto"])
def test_the_batch_size_and_the_order_change_nothing(
    policy: Path, language_model: Path, batch_size: Any
) -> None:
    pairs = some_pairs()
    expected = by_transformers(policy, language_model, "sum", 0.1, pairs)
    model = implicit(policy, reference=language_model, batch_size=batch_size)
    assert model.log_probs.pads
    assert rewards(model, pairs[::-1])[::-1] == pytest.approx(expected, abs=1e-5)


def test_a_model_that_padding_changes_is_not_padded(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose states see the tokens on their right; rows of unlike length stay apart."""
    from transformers import LlamaForCausalLM

    forward = LlamaForCausalLM.forward

    def looks_ahead(self: Any, input_ids: Any = None, **kwargs: Any) -> Any:
        output = forward(self, input_ids=input_ids)
        output.logits = output.logits * (1 + input_ids.shape[1] / 10)
        return output

    pairs = some_pairs(4)
    monkeypatch.setattr(LlamaForCausalLM, "forward", looks_ahead)
    model = implicit(policy, batch_size=8)
    assert not model.log_probs.pads and not model.may_share_batch(7, 8)
    alone = rewards(implicit(policy, batch_size=1), pairs)
    assert rewards(model, pairs) == pytest.approx(alone, abs=1e-5)


def test_logits_of_the_prompt_are_not_computed(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model, kept = implicit(policy), []
    head = model.model.lm_head
    monkeypatch.setattr(
        head,
        "forward",
        lambda states: kept.append(states.shape[1]) or torch.nn.Linear.forward(head, states),
    )
    rewards(model, [("What is it? " * 10, "Paris.")])
    length = len(model.encode(requests([("", "Paris.")])[0]).ids)
    assert kept and max(kept) < length


def test_the_beginning_is_lost_and_never_the_response(policy: Path) -> None:
    """The response's value is that of the shortened conversation; too long a one is refused."""
    model = implicit(policy, max_length=40)
    long = "What is it? " * 20
    found = model.encode(requests([(long, "Paris.")])[0])
    whole = implicit(policy).encode(requests([(long, "Paris.")])[0])
    assert len(found.ids) == 40 and found.truncated and not whole.truncated
    assert found.ids[0] == model.tokenizer.bos_token_id
    assert found.ids[found.start :] == whole.ids[whole.start :]
    (value,) = rewards(model, [(long, "Paris.")])
    assert value == pytest.approx(0.1 * model.log_probs([found])[0], abs=1e-5)
    assert model.get_model_info()["truncated_rows"] == 1
    with pytest.raises(HarnessError, match=r"document 0.* the response has \d+ tokens.*max_length"):
        rewards(model, [("What?", "Paris and " * 30)])


def test_what_counts_as_the_response(policy: Path) -> None:
    """All after the generation prompt, with the template's end of the turn."""
    model = implicit(policy)
    row = model.encode(requests([("What?", "Paris.")])[0])
    assert model.tokenizer.decode(row.ids[row.start :]) == "Paris.<|im_end|>\n"
    assert model.tokenizer.decode(row.ids[: row.start]).endswith("<|im_start|>assistant\n")
    template = "{% for m in messages if m['content'] != 'Paris.' %}{{ m['content'] }}{% endfor %}"
    silent = implicit(policy, chat_template=template)
    with pytest.raises(HarnessError, match="renders the response to nothing"):
        rewards(silent, [("What?", "Paris.")])


def test_the_base_of_an_adapter_is_its_reference(policy: Path, tmp_path: Path) -> None:
    """peft= with reference=base, against the base model named as the reference."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(policy), LoraConfig(task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    adapted.save_pretrained(tmp_path)
    pairs = some_pairs(4)
    named = rewards(implicit(policy, peft=str(tmp_path), reference=policy), pairs)
    assert max(map(abs, named)) > 0.01
    switched = implicit(policy, peft=str(tmp_path), reference="base")
    assert rewards(switched, pairs) == pytest.approx(named, abs=1e-5)
    with pytest.raises(HarnessError, match="there is no peft="):
        implicit(policy, reference="base")


def test_a_loaded_policy_and_a_tied_head(
    save_language_model: Save, language_model: Path, tokenizer: Any
) -> None:
    from transformers import AutoModelForCausalLM

    from harness.models.implicit import RewardImplicit

    folder = save_language_model(seed=3, tie_word_embeddings=True)
    pairs = some_pairs(3)
    expected = by_transformers(folder, language_model, "sum", 0.1, pairs)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    model = RewardImplicit(loaded, tokenizer=tokenizer, reference=str(language_model))
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-5)
    assert rewards(implicit(folder, reference=language_model), pairs) == pytest.approx(
        expected, abs=1e-5
    )


def test_a_reward_model_is_refused(policy: Path, reward_model: Path) -> None:
    way_out = f"use --model reward --model_args pretrained={reward_model}"
    with pytest.raises(HarnessError, match=re.escape(way_out)):
        implicit(reward_model)
    with pytest.raises(HarnessError, match=r"is a reward model .*name a causal language model"):
        implicit(policy, reference=reward_model)


def test_what_would_be_random_is_refused(save_language_model: Save, policy: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_language_model()
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["lm_head.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(HarnessError, match=r"no complete language model: .* lm_head.weight"):
        implicit(folder)
    with pytest.raises(HarnessError, match=re.escape(f"{folder} (LlamaForCausalLM) is no")):
        implicit(policy, reference=folder)


def test_a_reference_of_other_tokens_is_refused(
    save_language_model: Save, policy: Path, tokenizer: Any
) -> None:
    short = save_language_model(vocab_size=100)
    with pytest.raises(HarnessError, match="has 100 rows of embeddings"):
        implicit(policy, reference=short)
    other = save_language_model()
    file = other / "tokenizer.json"
    saved = json.loads(file.read_text())
    vocabulary = saved["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(saved))
    with pytest.raises(HarnessError, match="2 ids are other tokens than the policy's"):
        implicit(policy, reference=other)


def test_a_reference_whose_tokens_have_other_names_is_refused(
    save_language_model: Save, policy: Path
) -> None:
    """No token of the policy has another id there: the ids 200 to 299 are none of its tokens."""
    other = save_language_model()
    file = other / "tokenizer.json"
    saved = json.loads(file.read_text())
    vocabulary = saved["model"]["vocab"]
    for token in sorted(vocabulary, key=vocabulary.get)[200:300]:
        vocabulary[f"renamed {token}"] = vocabulary.pop(token)
    saved["model"]["merges"] = []
    file.write_text(json.dumps(saved))
    with pytest.raises(HarnessError, match=r"100 ids are other tokens .*\(id 200: 'renamed "):
        implicit(policy, reference=other)


def test_tokens_that_fine_tuning_adds_are_no_other_tokens(
    save_language_model: Save, language_model: Path, tokenizer: Any
) -> None:
    """A reserved token that got a name, and a pad token that neither model has a row for."""
    folder = save_language_model(seed=6)
    for file in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
        file.write_text(file.read_text().replace("<|im_end|>", "<|turn_end|>"))
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(folder)
    own.add_tokens(["<|never seen|>"])
    own.save_pretrained(folder)
    assert len(own) == len(tokenizer) + 1
    implicit(folder, reference=language_model)


def test_what_the_reference_is_loaded_with(
    policy: Path, language_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy's dtype and autocast, and a revision of its own (a folder has none: not used)."""
    import torch
    from transformers import AutoModelForCausalLM

    asked: dict[str, dict[str, Any]] = {}
    load = AutoModelForCausalLM.from_pretrained

    def keep(name: str, **kwargs: Any) -> Any:
        asked[name] = kwargs
        return load(name, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", keep)
    options = {"dtype": "float16", "mixed_precision_dtype": "bfloat16", "revision": "policy"}
    model = implicit(policy, reference=language_model, reference_revision="before", **options)
    assert asked[str(policy)]["revision"] == "policy"
    assert asked[str(language_model)]["revision"] == "before"
    assert model.reference_model.dtype is model.model.dtype is torch.float16
    assert model.reference_log_probs.autocast is model.log_probs.autocast is torch.bfloat16


def test_a_reference_tokenizer_with_code_of_its_own(
    save_language_model: Save, policy: Path
) -> None:
    reference = save_language_model(seed=5)
    (reference / "own.py").write_text(
        "from transformers import PreTrainedTokenizerFast\n\n"
        "class Own(PreTrainedTokenizerFast):\n    pass\n"
    )
    file = reference / "tokenizer_config.json"
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": [None, "own.Own"]}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **own}))
    implicit(policy, reference=reference, trust_remote_code=True)
    with pytest.raises(HarnessError, match=r"its tokenizer comes with its own code.*=True"):
        implicit(policy, reference=reference)


def test_a_reference_saved_without_its_tokenizer(save_language_model: Save, policy: Path) -> None:
    reference = save_language_model(seed=5)
    pairs = some_pairs(2)
    expected = by_transformers(policy, reference, "sum", 0.1, pairs)
    for file in reference.glob("*token*"):
        file.unlink()
    assert rewards(implicit(policy, reference=reference), pairs) == pytest.approx(
        expected, abs=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"beta": 0}, "beta=0 is not a number above 0"),
        ({"beta": "much"}, "beta=much is not a number above 0"),
        ({"normalize": "norm"}, "normalize=norm is unknown; it is sum or mean"),
        ({"reference": "./nowhere"}, "reference=./nowhere: there is no such folder"),
        ({"reference": "nobody/nothing"}, "reference=nobody/nothing: can't be loaded"),
        ({"reference_revision": "v1"}, "reference_revision=v1 has no effect without reference="),
        ({"peft": "nobody/nothing"}, "peft=nobody/nothing"),
        ({"backend": "seq2seq"}, "Unrecognized configuration class"),
        ({"refrence": "x"}, "unknown 'refrence'; did you mean 'reference'?"),
        ({"head_dtype": "auto"}, "head_dtype"),
    ],
)
def test_wrong_arguments(policy: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(words)):
        implicit(policy, **arguments)


@pytest.mark.parametrize("place", ["policy", "reference"])
def test_a_folder_without_a_model(policy: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(HarnessError, match=f"{tmp_path}.*Unrecognized model") as caught:
        if place == "policy":
            implicit(tmp_path)
        else:
            implicit(policy, reference=tmp_path)
    assert "\n" not in str(caught.value)


def test_without_a_reference_it_is_another_kind_of_score(policy: Path) -> None:
    """So that a forgotten reference shows in the table."""
    asked = requests([(Conversation("shown", TALK), "It is 4.")])
    (answer,) = implicit(policy).loglikelihood(asked, disable_tqdm=True)
    assert answer[2]["kind"] == "implicit reward, no reference"


def test_a_run_of_lm_eval(
    policy: Path, language_model: Path, tasks: Callable[..., Any], write_rows: Callable[..., Path]
) -> None:
    """Accuracy follows from the rewards in the samples, and the table names the kind."""
    import lm_eval

    rows = preference_rows("hep-go", 6)
    results = lm_eval.simple_evaluate(
        "reward-implicit",
        model_args={"pretrained": str(policy), "reference": str(language_model), "beta": 0.5},
        device="cpu",
        tasks=["rewardbench-hep-go"],
        task_manager=tasks(data_dir=write_rows(rows)),
        bootstrap_iters=0,
    )
    pairs = [(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    expected = by_transformers(policy, language_model, "sum", 0.5, pairs)
    samples = results["samples"]["rewardbench-hep-go"]
    answers = [answer for sample in samples for answer in sample["filtered_resps"]]
    assert [answer[0] for answer in answers] == pytest.approx(expected, abs=1e-5)
    assert answers[0][2] == {"kind": "implicit reward", "truncated": False}
    scores = results["results"]["rewardbench-hep-go"]
    wins = [a > b for a, b in zip(expected[::2], expected[1::2], strict=True)]
    assert scores["accuracy,none"] == pytest.approx(sum(wins) / 6)
    assert scores["alias"] == "rewardbench-hep-go [implicit reward]"
    config = results["config"]
    assert (config["beta"], config["reference"]) == (0.5, str(language_model))


def test_a_task_of_lm_evals_own_kind(policy: Path, tmp_path: Path) -> None:
    """Multiple choice over plain strings: the choice with the higher implicit reward."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    rows = [
        {"question": f"What is {n} + 1?", "choices": [f"It is {n}.", f"{n + 1}"], "gold": n % 2}
        for n in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "task": "plain-choice",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
    }
    (tmp_path / "plain.yaml").write_text(json.dumps(config))
    results = lm_eval.simple_evaluate(
        implicit(policy, normalize="mean"),
        tasks=["plain-choice"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        bootstrap_iters=0,
    )
    pairs = [(row["question"], choice) for row in rows for choice in row["choices"]]
    expected = by_transformers(policy, None, "mean", 0.1, pairs)
    right = [
        int(second > first) == row["gold"]
        for row, first, second in zip(rows, expected[::2], expected[1::2], strict=True)
    ]
    assert results["results"]["plain-choice"]["acc,none"] == pytest.approx(sum(right) / 4)


@pytest.mark.parametrize("normalize", ["sum", "mean"])
def test_what_conversations_begin_with_is_computed_once(
    policy: Path, language_model: Path, normalize: str
) -> None:
    """By both models, and no reward changes."""
    from harness.models.score.tree import common_beginning, size

    options = {"reference": str(language_model), "normalize": normalize, "batch_size": "auto"}
    pairs = [("What is 1 + 1? " * 9, f"It is {n}") for n in range(6)] + some_pairs()
    shared, plain = implicit(policy, **options), implicit(policy, share_prefix=False, **options)
    assert shared.get_model_info()["model_shares_prefixes"] is True
    assert plain.get_model_info()["model_shares_prefixes"] is False
    seen: list[int] = []
    for model in (shared.model, shared.reference_model):
        model.get_input_embeddings().register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].numel())
        )
    found = rewards(shared, pairs)
    assert found == pytest.approx(rewards(plain, pairs), abs=1e-5)
    assert found == pytest.approx(
        by_transformers(policy, language_model, normalize, 0.1, pairs), abs=1e-5
    )
    # A response's last token is predicted alone; all rows are in one pass.
    ids = [shared.encode(request).ids[:-1] for request in requests(pairs)]
    trees = [ids[:6], *(ids[n : n + 2] for n in range(6, len(ids), 2))]
    again = common_beginning(ids) * (len(trees) - 1)
    assert sum(seen) == 2 * (sum(map(size, trees)) - again) < 2 * sum(map(len, ids))


def test_a_kernel_for_both_models(policy: Path, language_model: Path) -> None:
    pairs = some_pairs(4)
    flex = implicit(policy, reference=language_model, share_prefix="flex")
    assert flex.get_model_info()["model_pack_attention"] == "flex"
    expected = rewards(implicit(policy, reference=language_model), pairs)
    assert rewards(flex, pairs) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(HarnessError, match="share_prefix=maybe is unknown"):
        implicit(policy, share_prefix="maybe")
