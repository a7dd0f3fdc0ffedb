"""`dogerm export`: another layout, the same numbers, there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from dogerm_plugin.run import manifest
from harness.check.consumers.consumer import State, ask
from harness.check.consumers.declared import CONSUMERS, consumer
from harness.check.consumers.export import export
from harness.check.consumers.stored import read_reward
from harness.commands.export import export as command
from harness.models.routing.scale import Scale
from tests.harness.check.consumers.conftest import Save
from tests.harness.check.consumers.loaded import (
    by_openrlhf,
    by_tokens,
    by_transformers,
    config,
    stored,
)
from tests.harness.models.test_reward import reward, rewards

NAMES = [one.name for one in CONSUMERS]


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rewards(name: str, save: Save, tmp_path: Path) -> None:
    """Each copy gives transformers the same rewards to the bit, and the original is untouched."""
    model = save("Qwen2")
    before = files(model)
    answer, _ = export(consumer(name), model, tmp_path / "out")
    assert answer.state in (State.YES, State.UNKNOWN)
    assert files(model) == before
    assert stored(tmp_path / "out").items() >= stored(model).items()
    assert by_transformers(tmp_path / "out") == by_transformers(model)
    assert {"tokenizer.json", "chat_template.jinja"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str, save: Save, tmp_path: Path) -> None:
    """What transformers reads of the copy has the tensors of the original, and no other."""
    model = save("Qwen2")
    export(consumer(name), model, tmp_path / "there")
    export(consumer("transformers"), tmp_path / "there", tmp_path / "back")
    assert stored(tmp_path / "back") == stored(model)


def test_vllm_gets_its_key_and_links(save: Save, tmp_path: Path) -> None:
    """problem_type: regression is all that changes: the weights are the same file."""
    model, out = save(), tmp_path / "out"
    _, changed = export(consumer("vllm"), model, out)
    assert changed == ["problem_type: regression"]
    assert config(out) == config(model) | {"problem_type": "regression"}
    assert (out / "model.safetensors").samefile(model / "model.safetensors")


def test_once_more_to_the_same_folder(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linked weights are the same file: no second name of it stays beside the first."""
    monkeypatch.setattr(manifest, "HASHED", 0)  # as of large files, times tell whose they are
    model, out = save(), tmp_path / "out"
    export(consumer("vllm"), model, out)
    first = files(out)
    export(consumer("vllm"), model, out)
    assert files(out).keys() == first.keys()
    assert (out / "model.safetensors").samefile(model / "model.safetensors")


def test_sglang_gets_a_bias_of_zero(save: Save, tmp_path: Path) -> None:
    """Qwen2's class there has one that nothing else would set; Llama's has none."""
    export(consumer("sglang"), save("Qwen2"), tmp_path / "out")
    (added,) = [f for f in (tmp_path / "out").glob("*-of-*") if "score.bias" in load_file(f)]
    assert load_file(added)["score.bias"].tolist() == [0.0]
    assert ask(consumer("sglang"), read_reward(save("Llama"))).state is State.YES


def test_a_value_head_for_servers(value_head: Path, tmp_path: Path) -> None:
    """The head comes into the model under the name that they read, with its bias."""
    out = tmp_path / "out"
    export(consumer("vllm"), value_head, out)
    head = load_file(value_head / "value_head.safetensors")
    weights: dict[str, Any] = {}
    for file in out.glob("*.safetensors"):
        weights |= load_file(file)
    for kind in ("weight", "bias"):
        assert torch.equal(weights[f"score.{kind}"], head[f"v_head.summary.{kind}"])
    assert config(out)["architectures"] == ["LlamaForSequenceClassification"]
    assert not (out / "value_head.safetensors").exists()
    from harness.rewards import RewardFunction

    prompts, answers = ["What is 1?", "Hi"], ["One.", "Paris is the capital."]
    assert RewardFunction(out)(prompts, answers) == RewardFunction(value_head)(prompts, answers)


def test_a_bias_is_openrlhfs_mean(value_head: Path, tmp_path: Path) -> None:
    """(w·h - mean) / std has the bias in it, and config.json keeps all its digits."""
    export(consumer("openrlhf"), value_head, tmp_path / "out")
    export(consumer("verl"), value_head, tmp_path / "verl")  # whose class reads score.bias
    bias = load_file(value_head / "value_head.safetensors")["v_head.summary.bias"]
    assert torch.equal(torch.tensor([-config(tmp_path / "out")["mean"]]), bias)
    wanted = pytest.approx(by_tokens(tmp_path / "verl"), abs=1e-6)
    assert by_openrlhf(tmp_path / "out", normalized=True) == wanted
    assert "score.bias" not in stored(tmp_path / "out")


def test_a_scale_for_openrlhf(save: Save, value_head: Path, tmp_path: Path) -> None:
    """A calibration's mean and deviation, beside a bias too."""
    out, scale = tmp_path / "out", Scale(mean=0.25, std=4.0)
    model = save("Qwen2")
    export(consumer("openrlhf"), model, out, scale)
    wanted = [scale.standard(reward) for reward in by_transformers(model)]
    assert by_openrlhf(out, normalized=True) == pytest.approx(wanted, abs=1e-6)
    assert by_openrlhf(out, normalized=False) == by_transformers(model)
    export(consumer("openrlhf"), value_head, out, scale)
    assert config(out)["mean"] == pytest.approx(0.25 - 0.3)


def test_openrlhfs_own_for_others(of_openrlhf: Path, tmp_path: Path) -> None:
    """Its name of the head is right for itself; a copy for others has theirs, and its class's."""
    answer = ask(consumer("openrlhf"), read_reward(of_openrlhf))
    assert answer.state is State.CARE
    assert "compare a reward before you trust --reward.normalize_enable" in answer.why
    own = by_openrlhf(of_openrlhf, normalized=True)
    export(consumer("vllm"), of_openrlhf, tmp_path / "out")
    assert config(tmp_path / "out")["architectures"] == ["LlamaForSequenceClassification"]
    assert by_transformers(tmp_path / "out") == by_openrlhf(of_openrlhf, normalized=False)
    assert by_openrlhf(tmp_path / "out", normalized=True) == own
    renamed = stored(of_openrlhf)
    renamed["score.weight"] = renamed.pop("value_head.weight")
    assert stored(tmp_path / "out") == renamed


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_a_head_read_at_the_padding_token(name: str, of_openrlhf: Path, tmp_path: Path) -> None:
    """A copy of transformers' class name would pass over the token where the reward is."""
    said = config(of_openrlhf)
    eos = read_reward(of_openrlhf).last_token
    (of_openrlhf / "config.json").write_text(json.dumps({**said, "pad_token_id": eos}))
    template = of_openrlhf / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<|im_end|>' + '\\n'", "'<|im_end|>'"))
    pairs = [("What is 1 + 1?", "It is 2."), ("Hi!", "No.")]
    own = rewards(reward(of_openrlhf), pairs)
    answer, changed = export(consumer(name), of_openrlhf, tmp_path / "out")
    assert answer.state is State.YES
    assert "architectures: [LlamaForSequenceClassification], no pad_token_id" in changed
    assert config(tmp_path / "out")["pad_token_id"] is None
    assert rewards(reward(tmp_path / "out"), pairs) == pytest.approx(own, abs=1e-5)


def test_shards_of_which_one_changes(of_openrlhf: Path, tmp_path: Path) -> None:
    """Only the shard with the head is written anew, and the index knows the new name."""
    parts = load_file(of_openrlhf / "model.safetensors")
    whole = stored(of_openrlhf)
    from safetensors.torch import save_file

    from harness.check.consumers.weights import INDEX, _index

    head = {name: parts.pop(name) for name in ("value_head.weight", "model.norm.weight")}
    (of_openrlhf / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": parts, "model-00002-of-00002.safetensors": head}
    for name, tensors in shards.items():
        save_file(tensors, of_openrlhf / name, {"format": "pt"})
    _index(of_openrlhf, {n: file for file, tensors in shards.items() for n in tensors})
    out = tmp_path / "out"
    export(consumer("transformers"), of_openrlhf, out)
    first, second = shards
    assert (out / first).samefile(of_openrlhf / first)
    assert not (out / second).samefile(of_openrlhf / second)
    whole["score.weight"] = whole.pop("value_head.weight")
    assert stored(out) == whole
    assert '"score.weight": "model-00002-of-00002.safetensors"' in (out / INDEX).read_text()
    assert by_transformers(out) == by_openrlhf(of_openrlhf, normalized=False)


def test_a_bias_that_has_no_place(value_head: Path, tmp_path: Path) -> None:
    """transformers' classes have none: refused in a line, and what was there stays."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.md").write_text("mine", "utf-8")
    words = [str(value_head), "--for", "transformers", "-o", str(out)]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 1
    assert "has a bias (0.3), which it has no place for" in done.output
    assert len(done.output.splitlines()) == 1
    assert [file.name for file in out.iterdir()] == ["notes.md"]


def test_a_scale_for_who_reads_none(save: Save, tmp_path: Path) -> None:
    """Said, not left out."""
    scale = tmp_path / "scale.yml"
    scale.write_text("{mean: 0.5, std: 2}", "utf-8")
    words = [str(save()), "--for", "vllm", "--calibration", str(scale)]
    done = CliRunner().invoke(command, [*words, "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "reads no mean and deviation" in done.output
    assert not (tmp_path / "out").exists()


def test_an_unknown_name(save: Save, tmp_path: Path) -> None:
    """With the nearest known one."""
    done = CliRunner().invoke(command, [str(save()), "--for", "vlm", "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "did you mean 'vllm'?" in done.output


def test_verls_class(save: Save, tmp_path: Path) -> None:
    """The class that verl 0.7.0 loads gives the same rewards to the bit; its bias starts at 0."""
    model = save()
    export(consumer("verl"), model, tmp_path / "out")
    assert by_tokens(tmp_path / "out") == by_transformers(model)


def test_trl_scores_with_it(save: Save, language_model: Path, tmp_path: Path) -> None:
    """GRPO with the copy as reward_funcs computes the same rewards as with the model itself."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model = save()
    export(consumer("trl"), model, tmp_path / "out")
    options = {"use_cpu": True, "bf16": False, "report_to": [], "num_generations": 2}
    trainer = GRPOTrainer(
        str(language_model),
        reward_funcs=[str(model), str(tmp_path / "out")],
        args=GRPOConfig(str(tmp_path / "run"), per_device_train_batch_size=2, **options),
        train_dataset=Dataset.from_list([{"prompt": "What is 1?"}] * 2),
    )
    prompts, answers = ["What is 1?", "Hi"], ["One.", "Paris is the capital."]
    inputs = [{"prompt": prompt} for prompt in prompts]
    rewards = trainer._calculate_rewards(inputs, prompts, answers, [[5], [6]])
    assert torch.equal(rewards[:, 0], rewards[:, 1])
    read = AutoModelForSequenceClassification.from_pretrained(model)
    tokens = trainer.reward_processing_classes[0](
        [p + a for p, a in zip(prompts, answers, strict=True)],
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,
    )
    with torch.no_grad():
        assert rewards[:, 0].tolist() == read.eval()(**tokens).logits[:, 0].tolist()
