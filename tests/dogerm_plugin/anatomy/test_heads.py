"""Heads as people publish them are kept to the bit, and the merge is scored as they are."""

import json
import shutil
from pathlib import Path

import merging
import pytest
import tiny
import torch
from merging import Trio
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaModel

WEIGHT = 0.3
LM_HEAD = {"lm_head.weight": (96, 32)}
VALUE = {"v_head.summary.weight": (1, 32), "v_head.summary.bias": (1,)}
MLP = {".0.weight": (8, 32), ".0.bias": (8,), ".2.weight": (1, 8), ".2.bias": (1,)}

# architecture, what the body's names begin with, shapes of the other tensors, further config
LAYOUTS = {
    "trl": ("LlamaForCausalLM", "model.", LM_HEAD | VALUE, {}),
    "trl, wrapped": (
        "LlamaForCausalLM",
        "pretrained_model.model.",
        {"pretrained_model.lm_head.weight": (96, 32)} | VALUE,
        {},
    ),
    "regression head": ("LlamaRewardModel", "model.", {"regression_head.weight": (1, 32)}, {}),
    "another trunk name": ("GPTRewardModel", "transformer.", {"v_head.weight": (1, 32)}, {}),
    "score head": (
        "LlamaModelForScore",
        "model.",
        {"score_head.weight": (1, 32), "score_head.bias": (1,), "normalizer.mean": (1,)},
        {"do_normalize": False},
    ),
    "bare trunk": ("LlamaModel", "", {"value_head.weight": (1, 32)}, {}),
    "a bias that the class lacks": (
        "LlamaForSequenceClassification",
        "model.",
        {"score.weight": (1, 32), "score.bias": (1,)},
        {},
    ),
    "grm": (
        "LlamaForCausalLM",
        "model.",
        LM_HEAD | {f"v_head.summary{name}": shape for name, shape in MLP.items()},
        {"vhead_layer_type": "mlp"},
    ),
    "mlp score": (
        "LlamaForSequenceClassification",
        "model.",
        {f"score{name}": shape for name, shape in MLP.items()},
        {},
    ),
}


def publish(folder: Path, layout: str) -> dict[str, torch.Tensor]:
    """Turn a reward model of transformers' own class into a layout; its tensors."""
    architecture, trunk, others, more = LAYOUTS[layout]
    torch.manual_seed(3)
    state = {
        f"{trunk}{name.removeprefix('model.')}": tensor
        for name, tensor in merging.tensors(folder).items()
        if name.startswith("model.")
    }
    state |= {name: torch.randn(shape).half() for name, shape in others.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    for key in ("id2label", "label2id"):
        config.pop(key, None)
    config |= {"architectures": [architecture], **more}
    (folder / "config.json").write_text(json.dumps(config))
    return state


def by_hand(rm: dict, lm: dict, layout: str) -> dict[str, torch.Tensor]:
    """The body interpolated by name, all else as it is."""
    trunk, others = LAYOUTS[layout][1:3]
    return {
        name: tensor
        if name in others
        else WEIGHT * lm[f"model.{name.removeprefix(trunk)}"] + (1 - WEIGHT) * tensor
        for name, tensor in rm.items()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_heads_are_kept(layout: str, own_trio: Trio, tmp_path: Path) -> None:
    """Names on disk, dtypes and bits of the head; the LM head in a value-head checkpoint too."""
    rm = publish(own_trio.rm, layout)
    out = merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT)))
    expected = by_hand(rm, merging.tensors(own_trio.lm), layout)
    assert set(out) == set(expected)
    for name, tensor in expected.items():
        assert out[name].dtype == tensor.dtype and torch.equal(out[name], tensor), name
    before, after = (
        json.loads((folder / "config.json").read_text())
        for folder in (own_trio.rm, tmp_path / "out")
    )
    assert after["architectures"] == before["architectures"] == [LAYOUTS[layout][0]]


@pytest.mark.parametrize("layout", ["trl, wrapped", pytest.param("grm", marks=pytest.mark.slow)])
def test_the_merge_is_scored_as_its_reward_model_is(
    layout: str, own_trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mergekit-yaml, --model reward on its output, and the reward by hand."""
    from lm_eval.api.instance import Instance

    from harness.models.reward import Reward

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rm = publish(own_trio.rm, layout)
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT))
    done = merging.command(tmp_path, recipe, tmp_path / "out", quiet=False)
    assert done.exit_code == 0, done.output
    assert "head kept: " in done.stderr and "v_head.summary" in done.stderr
    state = by_hand(rm, merging.tensors(own_trio.lm), layout)
    pairs = [("w1 w2 w3", "w4"), ("w5", "w6 w7 w8 w9")]
    requests = [
        Instance("loglikelihood", {}, pair, 0, ("a-task", number, 1))
        for number, pair in enumerate(pairs)
    ]
    model = Reward(str(tmp_path / "out"), device="cpu", batch_size=2, dtype="float32")
    found = [answer[0] for answer in model.loglikelihood(requests, disable_tqdm=True)]
    expected = [reward(state, layout, own_trio.rm, pair) for pair in pairs]
    assert found == pytest.approx(expected, abs=1e-5)


def reward(state: dict, layout: str, folder: Path, pair: tuple[str, str]) -> float:
    """Body, last token, linear layers with ReLU between them."""
    trunk = LAYOUTS[layout][1]
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "float32"}
    body = LlamaModel(LlamaConfig(**config)).eval()
    body.load_state_dict({name: state[f"{trunk}{name}"] for name in body.state_dict()})
    turns = [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    ids = AutoTokenizer.from_pretrained(folder).apply_chat_template(turns, return_dict=False)
    with torch.no_grad():
        x = body(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
    weights = sorted(name for name in state if name.startswith("v_") and name.endswith("weight"))
    for number, name in enumerate(weights):
        x = torch.relu(x) if number else x
        x = state[name].float() @ x + state[name.replace("weight", "bias")].float()
    return float(x)


@pytest.mark.parametrize("layout", ["trl", "trl, wrapped", "regression head"])
def test_a_language_model_as_base_is_still_said(
    layout: str, own_trio: Trio, tmp_path: Path
) -> None:
    """Swapped models, with a published head on the side where none belongs."""
    publish(own_trio.rm, layout)
    message = merging.refused(tmp_path, merging.recipe(own_trio.lm, (own_trio.rm, WEIGHT)))
    assert "no reward head" in message and "look swapped" in message


GATE = {"mtp.layers.0.mlp.shared_expert_gate.weight": (1, 32), "mtp.fc.weight": (32, 64)}


@pytest.mark.parametrize("extra", [{"mtp.fc.weight": (32, 64)}, {"lm_head.bias": (96,)}, GATE])
def test_what_else_a_language_model_keeps_outside_is_no_reward_head(
    extra: dict[str, tuple[int, ...]], own_trio: Trio, tmp_path: Path
) -> None:
    changes = {name.replace(".", "__"): torch.randn(shape) for name, shape in extra.items()}
    merging.edit(own_trio.lm, **changes)
    message = merging.refused(tmp_path, merging.recipe(own_trio.lm, (own_trio.other, WEIGHT)))
    assert "no reward head" in message and "must be the reward model" in message


@pytest.mark.parametrize(
    "extra",
    [
        VALUE | {"critic.weight": (1, 32)},
        {"v_head.weight": (1, 32), "router.weight": (4, 32)},
        {"v_head.weight": (1, 16)},
    ],
    ids=["two heads", "a module beside it", "another width"],
)
def test_one_output_alone_is_no_reward_head(
    extra: dict[str, tuple[int, ...]], own_trio: Trio, tmp_path: Path
) -> None:
    """The rule of --model reward: one chain from the hidden size to 1, and nothing beside it."""
    changes = {name.replace(".", "__"): torch.randn(shape) for name, shape in extra.items()}
    merging.edit(own_trio.other, **changes)
    message = merging.refused(tmp_path, merging.recipe(own_trio.other, (own_trio.lm, WEIGHT)))
    assert "no reward head" in message and next(iter(extra)) in message


def test_what_the_class_declares_unread_is_no_head(tmp_path: Path) -> None:
    """Qwen3-Next publishes layers that predict a further token, one gate of them [1, hidden]."""
    rm, lm = tiny.save_pair(tmp_path, "qwen3_next")
    before = merging.tensors(rm)
    gate = {"mtp__layers__0__mlp__shared_expert_gate__weight": torch.randn(1, 32)}
    merging.edit(lm, **gate)
    merging.edit(rm, **gate)
    out = merging.merged(tmp_path, merging.recipe(rm, (lm, WEIGHT)))
    assert set(out) == set(before) and torch.equal(out["score.weight"], before["score.weight"])
    swapped = merging.recipe(lm, (rm, WEIGHT))
    assert "look swapped" in merging.refused(tmp_path, swapped, out=tmp_path / "no")


def test_a_classifier_of_several_labels_is_warned_of(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is merged, and said to give no single reward; code of its own (below) may sum up."""
    merging.edit(own_trio.rm, score__weight=torch.randn(3, 32))
    file = own_trio.rm / "config.json"
    labels = {"id2label": {str(n): f"L{n}" for n in range(3)}}
    labels |= {"label2id": {f"L{n}": n for n in range(3)}}
    file.write_text(json.dumps(json.loads(file.read_text()) | labels))
    out = merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT)))
    assert torch.equal(out["score.weight"], merging.tensors(own_trio.rm)["score.weight"])
    assert "its head (score.weight) gives several numbers" in caplog.text


def test_both_models_wrapped(own_trio: Trio, tmp_path: Path) -> None:
    """The language model may come out of the same trainer as the reward model."""
    rm = publish(own_trio.rm, "trl, wrapped")
    lm = merging.tensors(own_trio.lm)
    wrapped = {f"pretrained_model.{name}": tensor for name, tensor in lm.items()}
    save_file(wrapped, own_trio.lm / "model.safetensors", metadata={"format": "pt"})
    out = merging.merged(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT)))
    for name, tensor in by_hand(rm, lm, "trl, wrapped").items():
        assert torch.equal(out[name], tensor), name


def test_a_published_head_does_not_excuse_a_missing_body(own_trio: Trio, tmp_path: Path) -> None:
    publish(own_trio.rm, "trl, wrapped")
    merging.edit(own_trio.rm, pretrained_model__model__layers__1__mlp__up_proj__weight=None)
    message = merging.refused(tmp_path, merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT)))
    assert "body tensor model.layers.1.mlp.up_proj.weight" in message and "incomplete" in message


CODE = """
import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

class OwnReward(LlamaPreTrainedModel):
    config_class = LlamaConfig
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.gate = torch.nn.Parameter(torch.ones(3, 3))
        self.objectives = torch.nn.Linear(config.hidden_size, 3)
        self.post_init()
    def forward(self, input_ids, attention_mask=None):
        state = self.model(input_ids, attention_mask=attention_mask).last_hidden_state[:, -1]
        values = (self.objectives(state) @ self.gate).mean(-1)
        return SequenceClassifierOutput(logits=values)
"""


def test_own_code_with_several_objectives(
    own_trio: Trio, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No tensor ends in one number; its code says the reward. Without trust it is refused."""
    own = {"gate": torch.randn(3, 3), "objectives.weight": torch.randn(3, 32)}
    own["objectives.bias"] = torch.randn(3)
    state = {n: t for n, t in merging.tensors(own_trio.rm).items() if n.startswith("model.")}
    file = own_trio.rm / "model.safetensors"
    save_file(state | own, file, metadata={"format": "pt"})
    (own_trio.rm / "modeling_own.py").write_text(CODE)
    config = json.loads((own_trio.rm / "config.json").read_text())
    config |= {"architectures": ["OwnReward"], "auto_map": {"AutoModel": "modeling_own.OwnReward"}}
    (own_trio.rm / "config.json").write_text(json.dumps(config))
    recipe = merging.recipe(own_trio.rm, (own_trio.lm, WEIGHT))
    message = merging.refused(tmp_path, recipe)
    assert "OwnReward is the checkpoint's own code: it needs --trust-remote-code" in message
    out = merging.merged(tmp_path, recipe, "--trust-remote-code")
    assert "several numbers" not in caplog.text
    lm = merging.tensors(own_trio.lm)
    for name, tensor in (state | own).items():
        expected = tensor if name in own else WEIGHT * lm[name] + (1 - WEIGHT) * tensor
        assert torch.equal(out[name], expected), name
    swapped = merging.recipe(own_trio.lm, (own_trio.rm, WEIGHT))
    shutil.rmtree(tmp_path / "out")
    assert "look swapped" in merging.refused(tmp_path, swapped, "--trust-remote-code")
