"""An output that can't be loaded is none: config, weights and tokenizer are tried together."""

import json
from pathlib import Path
from typing import Any

import merging
import pytest
import torch
from merging import Trio
from transformers import AutoModelForSequenceClassification

WEIGHT = 0.3


def configure(folder: Path, **changes: Any) -> None:
    """Change config.json; None removes a key."""
    file = folder / "config.json"
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: v for key, v in values.items() if v is not None}))


def merge(trio: Trio, folder: Path, *options: str, **more: Any) -> dict[str, Any]:
    """Merge, load the output in transformers with nothing lacking, and return its config."""
    merging.merged(folder, merging.recipe(trio.rm, (trio.lm, WEIGHT), **more), *options)
    auto = AutoModelForSequenceClassification
    model, report = auto.from_pretrained(folder / "out", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(model.score.weight, merging.tensors(trio.rm)["score.weight"])
    return json.loads((folder / "out" / "config.json").read_text())


TWO = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
DEFAULT = {"id2label": None, "label2id": None}
SAID = {"nothing": DEFAULT, "two": TWO, "num_labels": {"num_labels": 2}}


@pytest.mark.parametrize("said", SAID)
def test_the_head_says_how_many_labels(
    said: str, own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """config.json says two, or nothing, which is two; problem_type is not lost."""
    configure(own_trio.rm, **SAID[said], problem_type="regression")
    if said == "num_labels":
        configure(own_trio.rm, id2label=None, label2id=None)
    config = merge(own_trio, tmp_path)
    assert config["id2label"] == {"0": "LABEL_0"} and config["label2id"] == {"LABEL_0": 0}
    assert config.get("num_labels", 1) == 1 and config["problem_type"] == "regression"
    lines = [line for line in caplog.text.splitlines() if "num_labels" in line]
    assert len(lines) == 1 and "num_labels=1, as the head score.weight gives" in lines[0]
    assert ("transformers' default" in lines[0]) == (said == "nothing")


def test_labels_that_fit_are_left_alone(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}
    configure(own_trio.rm, **names)
    config = merge(own_trio, tmp_path)
    assert names.items() <= config.items() and "num_labels" not in caplog.text


def test_three_labels_where_two_are_said(own_trio: Trio, tmp_path: Path) -> None:
    merging.edit(own_trio.rm, score__weight=torch.randn(3, 32))
    configure(own_trio.rm, **TWO)
    assert len(merge(own_trio, tmp_path)["id2label"]) == 3


def test_a_head_of_another_width(own_trio: Trio, tmp_path: Path) -> None:
    merging.edit(own_trio.rm, score__weight=torch.randn(1, 16))
    line = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT)))
    assert "model.safetensors: head tensor score.weight has shape [1, 16]" in line
    assert "needs ['labels', 32]" in line and not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_a_left_over_quantization_is_dropped(
    key: str, own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """transformers would quantize plain numbers, or ask for a library."""
    configure(own_trio.rm, **{key: {"quant_method": "gptq", "bits": 4}})
    assert key not in merge(own_trio, tmp_path)
    assert f"config.json has no {key}: the reward model's has" in caplog.text


def test_code_that_is_not_there(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """auto_map of a class that transformers has; entries with a file, or on the Hub, stay."""
    (own_trio.rm / "here.py").write_text("")
    auto_map = {"AutoModel": "gone.Model", "AutoConfig": "owner/name--far.Config"}
    configure(own_trio.rm, auto_map=auto_map | {"AutoModelForCausalLM": "here.Model"})
    assert merge(own_trio, tmp_path)["auto_map"] == {
        "AutoConfig": "owner/name--far.Config",
        "AutoModelForCausalLM": "here.Model",
    }
    assert "no AutoModel in auto_map: gone.py, which it names, is not in" in caplog.text


BROKEN = {
    "no JSON": "{",
    "no tokenizer": '{"version": "1.0"}',
    "no model": '{"version": "1.0", "added_tokens": [], "model": {"type": "none"}}',
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_tokenizer_broken_in_both_models(kind: str, own_trio: Trio, tmp_path: Path) -> None:
    """The same bytes: nothing differs, and nothing works."""
    for folder in (own_trio.rm, own_trio.lm):
        (folder / "tokenizer.json").write_text(BROKEN[kind])
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT))
    line = merging.refused(tmp_path, recipe)
    assert "tokenizer can't be loaded" in line and "--no-copy-tokenizer" in line
    assert not (tmp_path / "out").exists()
    merging.merged(tmp_path, recipe, "--no-copy-tokenizer")


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_generation_config_that_cant_be_read(
    text: str, own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Left out, and said so: a reward model generates nothing."""
    (own_trio.rm / "generation_config.json").write_text(text)
    merge(own_trio, tmp_path)
    assert not (tmp_path / "out" / "generation_config.json").exists()
    assert caplog.text.count("generation_config.json can't be read") == 1


def test_a_generation_config_that_can_be_read_stays(own_trio: Trio, tmp_path: Path) -> None:
    (own_trio.rm / "generation_config.json").write_text('{"temperature": 0.5, "do_sample": true}')
    merge(own_trio, tmp_path)
    assert (tmp_path / "out" / "generation_config.json").exists()


def test_an_lm_head_that_was_left_in_a_classifier(own_trio: Trio, tmp_path: Path) -> None:
    """Kept as the reward model has it; transformers passes over it there and here."""
    merging.edit(own_trio.rm, lm_head__weight=torch.randn(96, 32))
    out = merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT)))
    assert "lm_head.weight" in out
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("dtype", ["int8", "bfloat", "float8_e4m3fn"])
def test_a_dtype_that_no_model_loads_in(dtype: str, own_trio: Trio, tmp_path: Path) -> None:
    configure(own_trio.rm, dtype=dtype)
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT))
    line = merging.refused(tmp_path, recipe)
    assert "dtype" in line or "config.json" in line
