"""What training libraries save is merged, scored and loaded as the libraries mean it."""

import json
from pathlib import Path
from typing import Any

import merging
import pytest
import torch
import trainers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

WEIGHT = 0.3
# in the last, the last token is the pad token
PAIRS = [("w1 w2 w3", "w4"), ("w5", "w6 w7 w8 w9"), ("w5", "w6 w7 unheard-of")]


def score(folder: Path, **arguments: Any) -> list[float]:
    """--model reward, in this process."""
    from lm_eval.api.instance import Instance

    from harness.models.reward import Reward

    requests = [
        Instance("loglikelihood", {}, pair, 0, ("a-task", number, 1))
        for number, pair in enumerate(PAIRS)
    ]
    options = {"device": "cpu", "batch_size": 2, "dtype": "float32"} | arguments
    return [a[0] for a in Reward(str(folder), **options).loglikelihood(requests, disable_tqdm=True)]


def by_hand(body: Any, state: dict, saved: trainers.Saved, folder: Path) -> list[float]:
    """The trunk's last hidden state at the last token, and a linear layer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    weight, bias = saved.head
    values = []
    for prompt, response in PAIRS:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        last = max(n for n, token in enumerate(ids) if saved.reads_pads or token != 0)
        with torch.no_grad():
            states = body.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        value = float(state[weight].float()[0] @ states[last])
        values.append(value + (float(state[bias]) if bias else 0.0))
    assert max(values) - min(values) > 0.1
    return values


def merged_body(rm: Any, lm: Any) -> LlamaForCausalLM:
    """The formula, on the two bodies in memory."""
    made = LlamaForCausalLM(rm.config).eval()
    theirs = lm.model.state_dict()
    made.model.load_state_dict(
        {n: (1 - WEIGHT) * t + WEIGHT * theirs[n] for n, t in rm.model.state_dict().items()}
    )
    return made


@pytest.mark.parametrize("name", trainers.MAKERS)
def test_through_merge_and_scoring_and_back(name: str, tmp_path: Path) -> None:
    """The reward model and the merge are scored as written down; the layout on disk is kept."""
    rm, out = tmp_path / "rm", tmp_path / "out"
    body = trainers.body().eval()
    saved = trainers.MAKERS[name](rm, body)
    lm = AutoModelForCausalLM.from_pretrained(
        trainers.domain_model(tmp_path / "lm", trainers.body())
    )
    before = merging.tensors(rm)
    before.pop("learning_rate")
    assert score(rm) == pytest.approx(by_hand(body, before, saved, rm), abs=1e-5)

    result = merging.command(tmp_path, merging.recipe(rm, (tmp_path / "lm", WEIGHT)), out)
    assert result.exit_code == 0, result.output
    after = merging.tensors(out)
    assert set(after) == set(before)
    for part in saved.head:
        assert part is None or torch.equal(after[part], before[part])
    expected = by_hand(merged_body(body, lm), before, saved, rm)
    assert score(out) == pytest.approx(expected, abs=1e-5)

    config = json.loads((out / "config.json").read_text())
    assert config["id2label"] == {"0": "LABEL_0"} and config["label2id"] == {"LABEL_0": 0}
    for key in ("architectures", "problem_type", "value_head_prefix"):
        assert config.get(key) == json.loads((rm / "config.json").read_text()).get(key)
    if saved.auto is not None:
        _, report = saved.auto.from_pretrained(out, output_loading_info=True)
        missing = {key for key in report["missing_keys"] if "lm_head" not in key}
        assert not missing and not report["mismatched_keys"]
        assert set(report["unexpected_keys"]) == saved.beside


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_head_beside_the_model_stays_beside_it(safe: bool, tmp_path: Path) -> None:
    """Its file is copied to the bit, in its dtype, and the weights hold a plain language model."""
    rm, out = tmp_path / "rm", tmp_path / "out"
    trainers.llama_factory(rm, trainers.body(), safe)
    trainers.domain_model(tmp_path / "lm", trainers.body())
    recipe = merging.recipe(rm, (tmp_path / "lm", WEIGHT), out_dtype="bfloat16")
    result = merging.command(tmp_path, recipe, out)
    assert result.exit_code == 0, result.output
    file = "value_head.safetensors" if safe else "value_head.bin"
    assert (out / file).read_bytes() == (rm / file).read_bytes()
    weights = load_file(out / "model.safetensors")
    assert not [name for name in weights if name.startswith("v_head")]
    assert weights["model.norm.weight"].dtype == torch.bfloat16
    again = merging.recipe(out, (tmp_path / "lm", WEIGHT))  # the output is a reward model too
    assert merging.command(tmp_path, again, tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / file).read_bytes() == (rm / file).read_bytes()


def test_the_head_beside_the_model_keeps_its_digits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A float32 head beside a bfloat16 body; head_dtype=auto rounds it as the body is."""
    body = trainers.body(dtype=torch.bfloat16)
    saved = trainers.llama_factory(tmp_path, body)
    head = load_file(tmp_path / "value_head.safetensors")
    wide = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    exact = by_hand(wide, head, saved, tmp_path)
    assert score(tmp_path) == pytest.approx(exact, abs=1e-5)
    assert "MISSING" not in capsys.readouterr().err
    fine, coarse = (
        score(tmp_path, dtype="bfloat16", head_dtype=kind) for kind in ("float32", "auto")
    )
    assert all(float(torch.tensor(v).bfloat16()) == v for v in coarse)
    assert not all(float(torch.tensor(v).bfloat16()) == v for v in fine)


def both(folder: Path, change: float, safe: bool = True) -> None:
    """The head in the weights' file too, moved by `change`."""
    trainers.llama_factory(folder, trainers.body(), safe)
    head = merging.tensors(folder)
    moved = {n: t + change for n, t in head.items() if n.startswith("v_head")}
    if safe:
        merging.edit(folder, **{name.replace(".", "__"): t for name, t in moved.items()})
    else:
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        torch.save(state | moved, folder / "pytorch_model.bin")


@pytest.mark.parametrize("safe", [True, False])
def test_one_head_in_two_files(safe: bool, tmp_path: Path) -> None:
    both(tmp_path / "rm", 0.0, safe)
    trainers.domain_model(tmp_path / "lm", trainers.body())
    out = merging.merged(tmp_path, merging.recipe(tmp_path / "rm", (tmp_path / "lm", WEIGHT)))
    assert torch.equal(out[trainers.VALUE], merging.tensors(tmp_path / "rm")[trainers.VALUE])
    trainers.llama_factory(tmp_path / "one", trainers.body())
    assert score(tmp_path / "rm") == pytest.approx(score(tmp_path / "one"), abs=1e-6)


@pytest.mark.parametrize("safe", [True, False])
def test_two_heads_of_one_name_are_refused(safe: bool, tmp_path: Path) -> None:
    from harness.errors import HarnessError

    both(tmp_path / "rm", 0.1, safe)
    trainers.domain_model(tmp_path / "lm", trainers.body())
    line = merging.refused(tmp_path, merging.recipe(tmp_path / "rm", (tmp_path / "lm", WEIGHT)))
    file = "value_head.safetensors" if safe else "value_head.bin"
    assert "tensor v_head.summary." in line and file in line and "another value" in line
    with pytest.raises(HarnessError, match=rf"{file}: tensor v_head.summary.\w+ .*another value"):
        score(tmp_path / "rm")


def test_a_damaged_file_beside_the_model(tmp_path: Path) -> None:
    from harness.errors import HarnessError

    trainers.llama_factory(tmp_path / "rm", trainers.body())
    trainers.domain_model(tmp_path / "lm", trainers.body())
    file = tmp_path / "rm" / "value_head.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    line = merging.refused(tmp_path, merging.recipe(tmp_path / "rm", (tmp_path / "lm", WEIGHT)))
    assert "value_head.safetensors: the head beside the model can't be read" in line
    with pytest.raises(HarnessError, match=r"value_head\.safetensors: the head beside"):
        score(tmp_path / "rm")


def test_bare_names_in_the_file(tmp_path: Path) -> None:
    """`weight` and `bias`, as some code saves the module alone."""
    from safetensors.torch import save_file

    saved = trainers.llama_factory(tmp_path, trainers.body())
    head = load_file(tmp_path / "value_head.safetensors")
    expected = by_hand(trainers.body().eval(), head, saved, tmp_path)
    bare = {name.rpartition(".")[2]: tensor for name, tensor in head.items()}
    save_file(bare, tmp_path / "value_head.safetensors")
    assert score(tmp_path) == pytest.approx(expected, abs=1e-5)


def test_a_domain_model_with_a_head_beside_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its head is ignored and said so, as one in its weights is."""
    trainers.trl_reward(tmp_path / "rm", trainers.body())
    trainers.llama_factory(tmp_path / "lm", trainers.body())
    merging.merged(tmp_path, merging.recipe(tmp_path / "rm", (tmp_path / "lm", WEIGHT)))
    assert "its own head (v_head.summary." in caplog.text and "is ignored" in caplog.text
    assert not (tmp_path / "out" / "value_head.safetensors").exists()
