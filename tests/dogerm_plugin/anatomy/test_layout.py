"""Which tensors are body and which are head, on checkpoints of every form; what does not fit."""

import json
import shutil
from pathlib import Path

import merging
import pytest
import tiny
import torch
from merging import Trio
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

WEIGHT = 0.3


def simple(rm: Path, lm: Path, **more: object) -> dict:
    return merging.recipe(rm, (lm, WEIGHT), **more)


def configure(folder: Path, **changes: object) -> None:
    """Change keys of a config.json; None removes one."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def check(out: dict, rm: dict, lm: dict, head: tuple[str, ...] = ("score.weight",)) -> None:
    """Every output tensor is the reward model's head, or interpolated by name."""
    assert set(out) == set(rm)
    for name, tensor in out.items():
        expected = rm[name] if name in head else WEIGHT * lm[name] + (1 - WEIGHT) * rm[name]
        assert tensor.dtype == rm[name].dtype and torch.equal(tensor, expected), name


def test_checkpoint_with_both_heads(own_trio: Trio, tmp_path: Path) -> None:
    """A reward head and an LM head over one trunk (HaF-RM): both are kept bit for bit."""
    state = merging.tensors(own_trio.rm)
    merging.edit(own_trio.rm, lm_head__weight=torch.randn(96, 32).half())
    out = merging.merged(tmp_path, simple(own_trio.rm, own_trio.lm))
    head = ("score.weight", "lm_head.weight")
    rm = merging.tensors(own_trio.rm)
    check(out, rm, merging.tensors(own_trio.lm), head)
    assert out["lm_head.weight"].dtype == torch.float16 and set(rm) == {*state, "lm_head.weight"}


def test_causal_class_with_a_value_head(own_trio: Trio, tmp_path: Path) -> None:
    """A causal LM with a value head beside its LM head is a reward model too."""
    merging.edit(own_trio.other, v_head__summary__weight=torch.randn(1, 32))
    out = merging.merged(tmp_path, simple(own_trio.other, own_trio.lm))
    head = ("v_head.summary.weight", "lm_head.weight")
    check(out, merging.tensors(own_trio.other), merging.tensors(own_trio.lm), head)


def test_head_with_several_tensors_and_labels(tmp_path: Path) -> None:
    """Whatever lies outside the trunk is the head, however it is called."""
    rm, lm = tiny.save_pair(tmp_path, "gpt2")
    merging.edit(rm, score__weight=torch.randn(1, 32).double(), score__bias=torch.randn(1))
    out = merging.merged(tmp_path, simple(rm, lm))
    state, other = merging.tensors(rm), merging.tensors(lm)
    check(out, state, other, ("score.weight", "score.bias"))
    assert out["score.weight"].dtype == torch.float64


def test_another_reward_models_head_is_ignored_and_said(
    trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A SequenceClassification as the domain model."""
    tiny.save_random(
        tmp_path / "second",
        AutoModelForSequenceClassification,
        tiny.tiny_config("llama", num_labels=1),
        seed=7,
    )
    merging.save_tokenizer(tmp_path / "second", merging.words(96))
    out = merging.merged(tmp_path, simple(trio.rm, tmp_path / "second"))
    check(out, merging.tensors(trio.rm), merging.tensors(tmp_path / "second"))
    assert "its own head (score.weight) is ignored" in caplog.text


@pytest.mark.parametrize("which", ["rm", "lm", "both"])
def test_stored_without_the_base_prefix(tmp_path: Path, which: str) -> None:
    """Old GPT-2 checkpoints lack `transformer.`; the output has the reward model's names."""
    rm, lm = tiny.save_pair(tmp_path, "gpt2")
    before = {path: merging.tensors(path) for path in (rm, lm)}
    for path in {"rm": [rm], "lm": [lm], "both": [rm, lm]}[which]:
        state = {n.removeprefix("transformer."): t for n, t in before[path].items()}
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    out = merging.merged(tmp_path, simple(rm, lm))
    assert set(out) == set(merging.tensors(rm))
    prefix = "" if which != "lm" else "transformer."
    for name, tensor in before[rm].items():
        short = name.removeprefix("transformer.")
        if short == "score.weight":
            assert torch.equal(out[short], tensor)
        else:
            expected = WEIGHT * before[lm][name] + (1 - WEIGHT) * tensor
            assert torch.equal(out[prefix + short], expected), name
    loaded, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert loaded(input_ids=torch.tensor([[3, 4]])).logits.isfinite().all()


@pytest.mark.parametrize("which", ["rm", "lm"])
def test_old_rotary_buffers(own_trio: Trio, tmp_path: Path, which: str) -> None:
    """`rotary_emb.inv_freq` of older releases is not part of the model any more."""
    buffers = {
        f"model__layers__{i}__self_attn__rotary_emb__inv_freq": torch.ones(4) for i in range(4)
    }
    before = merging.tensors(own_trio.rm)
    merging.edit(getattr(own_trio, which), **buffers)
    out = merging.merged(tmp_path, simple(own_trio.rm, own_trio.lm))
    check(out, before, merging.tensors(own_trio.lm))


@pytest.mark.parametrize(
    ("model_type", "buffers"),
    [
        ("gpt2", {"attn.bias": (1, 1, 8, 8), "attn.masked_bias": ()}),
        ("gpt_neo", {"attn.attention.bias": (1, 1, 8, 8), "attn.attention.masked_bias": ()}),
        ("gptj", {"attn.bias": (1, 1, 8, 8), "attn.masked_bias": ()}),
    ],
)
def test_old_causal_masks(model_type: str, buffers: dict, tmp_path: Path) -> None:
    """Masks of floating-point numbers, as releases before 5 stored them."""
    rm, lm = tiny.save_pair(tmp_path, model_type)
    before = merging.tensors(rm)
    for folder in (rm, lm):
        named = {f"transformer.h.0.{name}": torch.ones(shape) for name, shape in buffers.items()}
        merging.edit(folder, **{name.replace(".", "__"): tensor for name, tensor in named.items()})
    assert set(merging.merged(tmp_path, simple(rm, lm))) == set(before)


@pytest.mark.parametrize("which", ["rm", "lm"])
@pytest.mark.parametrize(
    "name",
    [
        "model.score_norm.weight",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.bias",
        "model.layers.4.mlp.up_proj.weight",
    ],
)
def test_tensors_in_the_trunk_that_the_class_lacks(
    name: str, which: str, own_trio: Trio, tmp_path: Path
) -> None:
    """A norm, a bias or a layer that config.json knows nothing of would be lost without a word."""
    folder = getattr(own_trio, which)
    merging.edit(folder, **{name.replace(".", "__"): torch.randn(32)})
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    class_name = {"rm": "LlamaForSequenceClassification", "lm": "LlamaForCausalLM"}[which]
    assert f"{folder}/model.safetensors: tensor {name} lies in the trunk" in message
    assert f"config.json's class {class_name} would not load it" in message


def split_experts(folder: Path, count: int = 4) -> None:
    """Store fused Mixtral experts one by one, as its published checkpoints are."""
    state = {}
    for name, tensor in merging.tensors(folder).items():
        if name.endswith("experts.gate_up_proj"):
            prefix = name.removesuffix("gate_up_proj")
            for i in range(count):
                gate, up = tensor[i].chunk(2)
                state |= {
                    f"{prefix}{i}.w1.weight": gate.clone(),
                    f"{prefix}{i}.w3.weight": up.clone(),
                }
        elif name.endswith("experts.down_proj"):
            for i in range(count):
                state[f"{name.removesuffix('down_proj')}{i}.w2.weight"] = tensor[i].clone()
        else:
            state[name] = tensor
    old = {n.replace(".mlp.", ".block_sparse_moe."): t for n, t in state.items()}
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})


def fuse_experts(folder: Path, auto: type) -> None:
    """Store the experts as the class holds them."""
    state = auto.from_pretrained(folder).state_dict()
    save_file(
        {n: t.contiguous() for n, t in state.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


@pytest.mark.parametrize("fused", [(False, False), (True, True), (True, False), (False, True)])
def test_experts_stored_apart_or_joined(tmp_path: Path, fused: tuple[bool, bool]) -> None:
    """Mixture-of-experts tensors merge by what the class loads, however they are stored."""
    rm, lm = tiny.save_pair(tmp_path, "mixtral")
    autos = (AutoModelForSequenceClassification, AutoModelForCausalLM)
    for path, auto, joined in zip((rm, lm), autos, fused, strict=True):
        if joined:
            fuse_experts(path, auto)
    a, b = (auto.from_pretrained(p) for p, auto in zip((rm, lm), autos, strict=True))
    merging.merged(tmp_path, simple(rm, lm))
    model, report = autos[0].from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    other = b.state_dict()
    for name, tensor in model.state_dict().items():
        mine = a.state_dict()[name]
        expected = mine if name == "score.weight" else WEIGHT * other[name] + (1 - WEIGHT) * mine
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("which", ["rm", "lm", "both"])
def test_a_missing_expert(tmp_path: Path, which: str) -> None:
    """One expert's tensor is absent: refused, not merged without it."""
    rm, lm = tiny.save_pair(tmp_path, "mixtral")
    for path in {"rm": [rm], "lm": [lm], "both": [rm, lm]}[which]:
        names = [
            n for n in merging.tensors(path) if "layers.1." in n and ".3." in n.split("experts")[-1]
        ]
        assert names
        merging.edit(path, **{names[0].replace(".", "__"): None})
    merging.refused(tmp_path, simple(rm, lm))
    assert not (tmp_path / "out").exists()


def test_experts_of_a_layer_that_the_class_lacks(tmp_path: Path) -> None:
    """Both models have one layer more than their config.json says."""
    rm, lm = tiny.save_pair(tmp_path, "mixtral")
    for path in (rm, lm):
        state = merging.tensors(path)
        more = {n.replace(".3.", ".4.", 1): t for n, t in state.items() if "layers.3." in n}
        more = {n: t.clone() for n, t in more.items() if "expert" in n}
        save_file(state | more, path / "model.safetensors", metadata={"format": "pt"})
    message = merging.refused(tmp_path, simple(rm, lm))
    assert "layers.4." in message and "would not load it" in message


def gemma(folder: Path) -> tuple[Path, Path]:
    """A multimodal reward model and a plain text model of its language part."""
    rm, _ = tiny.save_pair(folder, "gemma3")
    text = tiny.tiny_config("gemma3").text_config
    tiny.save_random(folder / "text", AutoModelForCausalLM, text, seed=3)
    return rm, folder / "text"


def test_text_model_into_a_multimodal_reward_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The language part is merged; the vision tower stays the reward model's, and that is said."""
    rm, lm = gemma(tmp_path)
    out = merging.merged(tmp_path, simple(rm, lm))
    mine, theirs = merging.tensors(rm), merging.tensors(lm)
    merged_names = 0
    for name, tensor in out.items():
        inner = name.replace("language_model.model.", "model.").replace(
            "model.language_model.", "model."
        )
        if inner in theirs and "vision" not in name:
            assert torch.equal(tensor, WEIGHT * theirs[inner] + (1 - WEIGHT) * mine[name]), name
            merged_names += 1
        else:
            assert torch.equal(tensor, mine[name]), name
    assert set(out) == set(mine) and merged_names == len(theirs) - ("lm_head.weight" in theirs)
    assert "stay as they are" in caplog.text and "vision" in caplog.text


def test_not_finite_vision_tower(tmp_path: Path) -> None:
    """What only the reward model has is looked at too."""
    rm, lm = gemma(tmp_path)
    name = next(n for n, t in merging.tensors(rm).items() if "vision" in n and t.ndim == 1)
    bad = torch.full_like(merging.tensors(rm)[name], float("inf"))
    merging.edit(rm, **{name.replace(".", "__"): bad})
    assert f"{rm}: NaN or Inf in tensor {name}" in merging.refused(tmp_path, simple(rm, lm))


def test_multimodal_model_into_a_text_reward_model(tmp_path: Path) -> None:
    """The other way round: only the language part of the domain model is used."""
    text = tiny.tiny_config("gemma3").text_config
    text.num_labels = 1
    tiny.save_random(tmp_path / "text", AutoModelForSequenceClassification, text, seed=3)
    _, lm = tiny.save_pair(tmp_path, "gemma3")
    out = merging.merged(tmp_path, simple(tmp_path / "text", lm))
    mine = merging.tensors(tmp_path / "text")
    assert set(out) == set(mine)
    assert torch.equal(out["score.weight"], mine["score.weight"])
    theirs = AutoModelForCausalLM.from_pretrained(lm).model.language_model.state_dict()
    for name, tensor in theirs.items():
        expected = WEIGHT * tensor + (1 - WEIGHT) * mine[f"model.{name}"]
        assert torch.equal(out[f"model.{name}"], expected), name


def test_one_multimodal_and_one_text_domain_model(tmp_path: Path) -> None:
    """Each tensor is made of the models that have it."""
    rm, text = gemma(tmp_path)
    recipe = merging.recipe(rm, (tmp_path / "lm", 0.3), (text, 0.2))
    out, mine = merging.merged(tmp_path, recipe), merging.tensors(rm)
    theirs = merging.tensors(tmp_path / "lm")
    vision = next(n for n in mine if "vision" in n and n.endswith("fc1.weight"))
    assert torch.equal(out[vision], 0.3 * theirs[vision] + 0.7 * mine[vision])
    norm = next(n for n in mine if "language_model" in n and n.endswith("model.norm.weight"))
    assert torch.allclose(
        out[norm],
        0.5 * mine[norm] + 0.3 * theirs[norm] + 0.2 * merging.tensors(text)["model.norm.weight"],
    )


def test_swapped_models_are_said(trio: Trio, tmp_path: Path) -> None:
    """base_model is the language model, models has the reward model."""
    message = merging.refused(tmp_path, simple(trio.lm, trio.rm))
    assert "no reward head" in message and "look swapped" in message


def test_no_reward_head_at_all(trio: Trio, tmp_path: Path) -> None:
    """Two language models."""
    message = merging.refused(tmp_path, simple(trio.lm, trio.other))
    assert "no reward head" in message and "must be the reward model" in message


def test_the_reward_models_head_is_missing(own_trio: Trio, tmp_path: Path) -> None:
    """A classifier whose file lacks its head would get a random one on load."""
    merging.edit(own_trio.rm, score__weight=None)
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert "head tensor score.weight" in message and "incomplete" in message


@pytest.mark.parametrize(
    ("model_type", "changes", "words"),
    [
        ("mistral", {}, "is a mistral model"),
        ("llama", {"hidden_size": 64}, "hidden size 64"),
        ("llama", {"num_hidden_layers": 3}, "layers 3"),
        ("llama", {"num_attention_heads": 2, "head_dim": 16}, "attention heads 2"),
        ("llama", {"intermediate_size": 64}, "has shape [32, 48]"),
        (
            "llama",
            {"attention_bias": True},
            "lacks body tensor model.layers.0.self_attn.k_proj.bias",
        ),
    ],
    ids=str,
)
def test_models_that_do_not_fit(
    trio: Trio, tmp_path: Path, model_type: str, changes: dict, words: str
) -> None:
    """Model type, width, depth, heads, inner width, biases: named with both values."""
    tiny.save_language_model(tmp_path / "odd", model_type, 3, **changes)
    message = merging.refused(tmp_path, simple(trio.rm, tmp_path / "odd"))
    assert words in message and str(trio.rm) in message and str(tmp_path / "odd") in message
    assert not (tmp_path / "out").exists()


def test_another_rope_is_said(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Positions of another base frequency (CodeLlama) merge, with a warning."""
    configure(own_trio.lm, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    merging.merged(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert "rope_parameters" in caplog.text


@pytest.mark.parametrize("which", ["rm", "lm"])
def test_a_body_tensor_missing_on_one_side(own_trio: Trio, tmp_path: Path, which: str) -> None:
    """The file that lacks it and the tensor are named."""
    folder = getattr(own_trio, which)
    merging.edit(folder, model__layers__3__input_layernorm__weight=None)
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert "model.layers.3.input_layernorm.weight" in message and str(folder) in message


def test_shapes_that_config_json_does_not_ask_for(own_trio: Trio, tmp_path: Path) -> None:
    """A config of another model beside the weights."""
    merging.edit(own_trio.lm, model__norm__weight=torch.ones(33))
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert "model.norm.weight has shape [33]" in message and "asks for [32]" in message


@pytest.mark.parametrize("which", ["rm", "lm"])
def test_quantized_checkpoints(own_trio: Trio, tmp_path: Path, which: str) -> None:
    """Stored integers can't be interpolated."""
    folder = getattr(own_trio, which)
    configure(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    name = "model__layers__0__mlp__up_proj__weight"
    merging.edit(folder, **{name: torch.ones(48, 32, dtype=torch.int8)})
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert "is quantized (bitsandbytes)" in message and "dequantize" in message
    configure(folder, quantization_config=None)
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert "model.layers.0.mlp.up_proj.weight is stored as int8" in message


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"model_type": "nonsense"}'])
def test_config_json_missing_or_invalid(own_trio: Trio, tmp_path: Path, text: str | None) -> None:
    """The model is named."""
    file = own_trio.lm / "config.json"
    file.unlink() if text is None else file.write_text(text)
    assert str(own_trio.lm) in merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))


@pytest.mark.parametrize("architectures", [None, [], ["A", "B"]])
def test_architectures_of_config_json(
    own_trio: Trio, tmp_path: Path, architectures: list | None
) -> None:
    """One class is needed."""
    configure(own_trio.rm, architectures=architectures)
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert str(own_trio.rm) in message


def test_a_class_that_transformers_does_not_have(own_trio: Trio, tmp_path: Path) -> None:
    """Reward models of other projects: taken by model type, and the class's name stays."""
    configure(own_trio.rm, architectures=["LlamaModelForScore"])
    out = merging.merged(tmp_path, simple(own_trio.rm, own_trio.lm))
    check(out, merging.tensors(own_trio.rm), merging.tensors(own_trio.lm))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaModelForScore"]


@pytest.mark.parametrize("size", [0, 5, 100, 3000])
def test_truncated_safetensors(own_trio: Trio, tmp_path: Path, size: int) -> None:
    """A download cut short: the file is named and what to do."""
    file = own_trio.lm / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert str(own_trio.lm) in message and "fetch" in message


def test_corrupt_safetensors_header(own_trio: Trio, tmp_path: Path) -> None:
    """Bytes overwritten in the header."""
    file = own_trio.lm / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[20:60] = b"\xff" * 40
    file.write_bytes(content)
    assert str(own_trio.lm) in merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))


@pytest.mark.parametrize("damage", ["garbage", "truncated", "list"])
@pytest.mark.parametrize("options", [(), ("--lazy-unpickle",)])
def test_damaged_pickle(
    own_trio: Trio, tmp_path: Path, damage: str, options: tuple[str, ...]
) -> None:
    """pytorch_model.bin that torch can't read."""
    state = merging.tensors(own_trio.lm)
    (own_trio.lm / "model.safetensors").unlink()
    file = own_trio.lm / "pytorch_model.bin"
    torch.save([1, 2] if damage == "list" else state, file)
    if damage != "list":
        file.write_bytes(b"garbage" if damage == "garbage" else file.read_bytes()[:5000])
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm), *options)
    assert str(own_trio.lm) in message


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": {"a": "gone.safetensors"}}'])
def test_bad_index(own_trio: Trio, tmp_path: Path, content: str) -> None:
    """An index that is not JSON, has no map, or names a shard that is not there."""
    (own_trio.lm / "model.safetensors").rename(own_trio.lm / "model-00001-of-00001.safetensors")
    (own_trio.lm / "model.safetensors.index.json").write_text(content)
    assert str(own_trio.lm) in merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))


@pytest.mark.parametrize("which", ["rm", "lm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite_body(own_trio: Trio, tmp_path: Path, which: str, value: float) -> None:
    """Model and tensor are named, and nothing is left."""
    folder = getattr(own_trio, which)
    bad = merging.tensors(folder)["model.norm.weight"]
    bad[3] = value
    merging.edit(folder, model__norm__weight=bad)
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert f"{folder}: NaN or Inf in tensor model.norm.weight" in message
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_not_finite_head(own_trio: Trio, tmp_path: Path) -> None:
    """The head is copied, and still looked at."""
    merging.edit(own_trio.rm, score__weight=torch.full((1, 32), float("nan")))
    message = merging.refused(tmp_path, simple(own_trio.rm, own_trio.lm))
    assert f"{own_trio.rm}: NaN or Inf in tensor score.weight" in message


def test_overflow_of_float16(own_trio: Trio, tmp_path: Path) -> None:
    """A number that float16 can't hold: the tensor and the dtype to use."""
    merging.edit(own_trio.lm, model__norm__weight=torch.full((32,), 1e6))
    recipe = simple(own_trio.rm, own_trio.lm, out_dtype="float16")
    message = merging.refused(tmp_path, recipe)
    assert "model.norm.weight does not fit torch.float16" in message and "bfloat16" in message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nowhere/at/all", "no such folder"),
        ("./nowhere", "no such folder"),
        ("nowhere", "no such folder"),
        ("owner/model", "offline"),
    ],
)
def test_models_that_are_not_there(trio: Trio, tmp_path: Path, path: str, words: str) -> None:
    """A wrong path, and a Hub id without the Hub."""
    message = merging.refused(tmp_path, simple(trio.rm, Path(path)))
    assert words in message.lower() and path.removeprefix("./") in message


def test_a_folder_without_weights(trio: Trio, tmp_path: Path) -> None:
    """The folder and the file names that were looked for."""
    shutil.copytree(trio.lm, tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    message = merging.refused(tmp_path, simple(trio.rm, tmp_path / "empty"))
    assert "no model.safetensors or pytorch_model.bin" in message


def test_the_reward_model_under_two_names(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spelled differently it would count as a domain model."""
    monkeypatch.chdir(trio.rm.parent)
    recipe = merging.recipe(trio.rm, (Path("./rm"), 0.2), (trio.lm, 0.3))
    assert "spelled differently" in merging.refused(tmp_path, recipe)


def test_layers_that_are_not_alike_cannot_be_moved(tmp_path: Path) -> None:
    """Slices over two kinds of layers: refused, where mergekit would pair by position."""
    rm, lm = tiny.save_pair(tmp_path, "jamba")
    sources = [{"model": str(rm), "layer_range": [1, 3]}, {"model": str(lm), "layer_range": [1, 3]}]
    sources[1]["parameters"] = {"weight": 0.3}
    recipe = merging.recipe(rm)
    del recipe["models"]
    recipe["slices"] = [{"sources": sources}]
    assert "not all alike" in merging.refused(tmp_path, recipe)


CODE = """
import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel

class OddConfig(LlamaConfig):
    model_type = "odd"

class OddReward(LlamaPreTrainedModel):
    config_class = OddConfig
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.v_head = torch.nn.Linear(config.hidden_size, 1)
        self.post_init()

class OddLM(LlamaPreTrainedModel):
    config_class = OddConfig
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.output = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
"""


def test_models_with_their_own_code(own_trio: Trio, tmp_path: Path) -> None:
    """Remote code: refused without --trust-remote-code, else merged, and the code comes along."""
    for folder, name, auto in (
        (own_trio.rm, "OddReward", "AutoModel"),
        (own_trio.lm, "OddLM", "AutoModelForCausalLM"),
    ):
        (folder / "modeling_odd.py").write_text(CODE)
        auto_map = {"AutoConfig": "modeling_odd.OddConfig", auto: f"modeling_odd.{name}"}
        configure(folder, model_type="odd", architectures=[name], auto_map=auto_map)
    head = {"v_head__weight": torch.randn(1, 32), "v_head__bias": torch.randn(1)}
    merging.edit(own_trio.rm, score__weight=None, **head)
    output = merging.tensors(own_trio.lm)["lm_head.weight"]
    merging.edit(own_trio.lm, lm_head__weight=None, output__weight=output)
    recipe = simple(own_trio.rm, own_trio.lm)
    assert "trust" in merging.refused(tmp_path, recipe)
    out = merging.merged(tmp_path, recipe, "--trust-remote-code")
    rm, lm = merging.tensors(own_trio.rm), merging.tensors(own_trio.lm)
    check(out, rm, lm, ("v_head.weight", "v_head.bias"))
    model = AutoModel.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert type(model).__name__ == "OddReward"
    assert torch.equal(model.v_head.weight, rm["v_head.weight"])
