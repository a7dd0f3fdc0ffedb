"""Reward models that bring their own code: run when trusted, read by what they return."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import sharpened
from tests.harness.models.load.test_completeness import reward
from tests.harness.models.load.test_heads import stored
from tests.harness.models.test_reward import rewards, some_pairs

# A reward that no structure tells: tanh between the layers and a factor of 3 at the end.
CODE = """
from dataclasses import dataclass
import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.utils import ModelOutput

class OwnConfig(LlamaConfig):
    model_type = "{model_type}"

@dataclass
class Output(ModelOutput):
    score: torch.Tensor | None = None
    scores: torch.Tensor | None = None
    end_scores: torch.Tensor | None = None
    rewards: torch.Tensor | None = None
    logits: torch.Tensor | None = None

class OwnReward(LlamaPreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.dense = torch.nn.Linear(config.hidden_size, 8)
        self.out = torch.nn.Linear(8, 1)
        self.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **kwargs):
        states = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        values = 3 * self.out(torch.tanh(self.dense(states)))  # [rows, tokens, 1]
        end = values[:, -1]
        objectives = torch.cat([values] * 5, dim=-1)[:, -1]
        lm_logits = self.lm_head(states)
        {body}
"""

RETURNS = {
    "logits": "return Output(logits=end)",
    "score": "return Output(score=end[:, 0], rewards=objectives, logits=objectives)",
    "scores": "return Output(scores=values)",
    "scores, flat": "return Output(scores=values[..., 0])",
    "rewards": "return Output(rewards=values, logits=lm_logits)",
    "rewards, one": "return Output(rewards=end)",
    "end_scores": "return Output(end_scores=end, scores=values)",
    "a tensor": "return end[:, 0]",
    "a number": "return end.squeeze()",
    "a dict": "return {'score': end}",
    "TRL's tuple": "return lm_logits, None, values[..., 0]",
    "fails on other text": "assert len(input_ids[0]) > 11; return Output(score=end)",
}

Own = Callable[..., Path]


@pytest.fixture
def own(tmp_path: Path, tokenizer: Any, small_config: dict[str, Any]) -> Own:
    """Writes a checkpoint with code of its own, whose forward ends in `body`."""

    def make(
        body: str, *, auto: str = "AutoModel", model_type: str = "own", dtype: str = "float32"
    ) -> Path:
        import torch
        from safetensors.torch import save_file
        from transformers import LlamaConfig, LlamaForCausalLM

        plain = {k: v for k, v in small_config.items() if k != "num_labels"}
        model = sharpened(LlamaForCausalLM(LlamaConfig(**plain)))
        torch.manual_seed(5)
        head = {
            "dense.weight": torch.randn(8, 32) / 5,
            "dense.bias": torch.randn(8),
            "out.weight": torch.randn(1, 8) / 3,
            "out.bias": torch.randn(1),
        }
        state = {
            name: tensor.to(getattr(torch, dtype))
            for name, tensor in (model.state_dict() | head).items()
        }
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
        auto_map = {auto: "modeling_own.OwnReward"}
        if model_type == "own":
            auto_map["AutoConfig"] = "modeling_own.OwnConfig"
        config = {
            **model.config.to_dict(),
            "model_type": model_type,
            "architectures": ["OwnReward"],
            "auto_map": auto_map,
            "dtype": dtype,
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        code = CODE.replace("{body}", body).replace("{model_type}", model_type)
        if model_type != "own":
            code = code.replace("config_class = OwnConfig", "config_class = LlamaConfig")
        (tmp_path / "modeling_own.py").write_text(code)
        tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return make


def by_hand(folder: Path, pairs: list[tuple[str, str]], end: tuple[int, ...] = ()) -> list[float]:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    state = {name: tensor.float() for name, tensor in stored(folder).items()}
    plain = json.loads((folder / "config.json").read_text())
    body = LlamaModel(LlamaConfig(**{**plain, "dtype": "float32"})).eval()
    body.load_state_dict({name: state[f"model.{name}"] for name in body.state_dict()})
    values = []
    for prompt, response in pairs:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = [*tokenizer.apply_chat_template(turns, return_dict=False), *end]
        with torch.no_grad():
            x = body(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
        x = torch.tanh(state["dense.weight"] @ x + state["dense.bias"])
        values.append(3 * float(state["out.weight"] @ x + state["out.bias"]))
    return values


@pytest.mark.parametrize("form", RETURNS)
def test_what_own_classes_return(form: str, own: Own) -> None:
    """One number per conversation or per token, under any of the published names."""
    folder = own(RETURNS[form])
    model = reward(folder, trust_remote_code=True)
    assert type(model.model).__name__ == "OwnReward"
    assert model.scorer.own_forward and not model.scorer.may_share_batch(5, 5)
    pairs = some_pairs(4)
    assert rewards(model, pairs) == pytest.approx(by_hand(folder, pairs), abs=1e-5)


@pytest.mark.parametrize(
    "auto", ["AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"]
)
@pytest.mark.parametrize("model_type", ["own", "llama"])
def test_without_trust_it_is_refused(auto: str, model_type: str, own: Own) -> None:
    """Under whichever Auto class, and where transformers knows the model type too."""
    folder = own(RETURNS["logits"], auto=auto, model_type=model_type)
    with pytest.raises(HarnessError, match=r"its own code.*trust_remote_code=True") as caught:
        reward(folder)
    assert "\n" not in str(caught.value)
    pairs = some_pairs(1)
    model = reward(folder, trust_remote_code=True)
    assert rewards(model, pairs) == pytest.approx(by_hand(folder, pairs), abs=1e-5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return Output(logits=lm_logits)", r"\.logits of shape \[1, 11, \d+\].*a language model"),
        ("return Output(rewards=objectives)", r"\.rewards of shape \[1, 5\].*several objectives"),
        ("return Output()", "a Output without any of them; a reward model returns one number"),
        ("return lm_logits, None", "a tuple of 2; a reward model returns one number"),
        ("return end, None, states", "a tuple of 3; a reward model returns one number"),
        ("return end[:, 0], states, end", "a tuple of 3; a reward model returns one number"),
        ("return lm_logits, states, values[..., 0]", "a tuple of 3; a reward model returns one"),
        ("return values[:, :-1]", r"a tensor of shape \[1, 10, 1\]"),
    ],
)
def test_what_is_no_reward_is_refused_on_loading(body: str, message: str, own: Own) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        reward(own(body), trust_remote_code=True)
    assert "\n" not in str(caught.value)


def test_objectives_that_look_like_tokens(own: Own) -> None:
    """As many objectives as a conversation has tokens: found out by the next row."""
    import torch

    from harness.models.load.remote_code import read

    body = "assert len(input_ids[0]) > 11; return Output(score=end.expand(1, {}))"
    probe = reward(own(body.format(1)), trust_remote_code=True)
    pairs = some_pairs(1)
    lengths = [len(probe.encoder.encode(_turns(pair))[0]) for pair in pairs]
    assert lengths[0] != lengths[1]
    model = reward(own(body.format(lengths[0])), trust_remote_code=True)
    with pytest.raises(HarnessError, match=r"\.score of shape"):
        rewards(model, pairs)
    assert read(torch.ones(1, 1), 1, 1)[1] is False


def _turns(pair: tuple[str, str]) -> Any:
    return [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]


def test_a_missing_tensor_is_refused(own: Own) -> None:
    from tests.harness.models.load.test_completeness import without_tensors

    folder = own(RETURNS["logits"])
    without_tensors(folder, "out.bias")
    with pytest.raises(HarnessError, match=r"not a reward model: it holds no out\.bias"):
        reward(folder, trust_remote_code=True)


def test_bfloat16_code_keeps_its_own_dtype(own: Own) -> None:
    """Several modules outside the body: which may be float32 is its code's to say."""
    folder = own(RETURNS["logits"], dtype="bfloat16")
    model = reward(folder, trust_remote_code=True)
    assert model.scorer.head_dtype == "the model's own"
    pairs = some_pairs(2)
    assert rewards(model, pairs) == pytest.approx(by_hand(folder, pairs), abs=0.4)


def test_one_head_module_runs_in_float32(own: Own) -> None:
    """One module beside body and LM head: float32, as for transformers' own classes."""
    folder = own(f"return Output(logits={ONE_HEAD})")
    with_one_head(folder)
    model = reward(folder, trust_remote_code=True, dtype="bfloat16")
    assert model.scorer.head_dtype == "float32"
    found = rewards(model, some_pairs(4))
    assert found != [rounded(value) for value in found]
    own_dtype = reward(folder, trust_remote_code=True, dtype="bfloat16", head_dtype="auto")
    coarse = rewards(own_dtype, some_pairs(4))
    assert coarse == [rounded(value) for value in coarse]
    assert found == pytest.approx(coarse, abs=0.1)


ONE_HEAD = "self.v_head(states.to(self.v_head.weight.dtype))[:, -1]"


def with_one_head(folder: Path) -> None:
    """Make of an `own` checkpoint one in bfloat16 whose head is a single module, ``v_head``."""
    code = (folder / "modeling_own.py").read_text()
    start, end = code.index("        self.dense ="), code.index("        self.lm_head =")
    head = "        self.v_head = torch.nn.Linear(config.hidden_size, 1, bias=False)\n"
    code = code[:start] + head + code[end:]
    start, end = code.index("        values ="), code.index("        lm_logits =")
    (folder / "modeling_own.py").write_text(code[:start] + code[end:])
    state = stored(folder)
    for name in ("dense.weight", "dense.bias", "out.weight", "out.bias"):
        del state[name]
    state = {name: tensor.bfloat16() for name, tensor in state.items()}
    state["v_head.weight"] = state["lm_head.weight"][:1].clone()
    save(state, folder)


@pytest.mark.parametrize("picky", [False, True])
def test_code_that_cannot_take_a_float32_head(
    picky: bool, own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    """It writes the reward into a tensor of the body's dtype: scored with the head as loaded."""
    body = "assert len(input_ids[0]) > 11; " if picky else ""  # fails on made-up tokens too
    body += f"out = states.new_zeros(1, 1); out[torch.arange(1)] = {ONE_HEAD}; "
    folder = own(body + "return Output(logits=out)")
    with_one_head(folder)
    options = {"trust_remote_code": True, "dtype": "bfloat16"}
    model = reward(folder, **options)
    assert model.scorer.head_dtype == ("float32" if picky else "the model's own")
    found = rewards(model, some_pairs(2))
    assert caplog.text.count("cannot run with a float32 head: the head stays in bfloat16") == 1
    assert model.scorer.head_dtype == "the model's own"
    assert found == rewards(reward(folder, head_dtype="auto", **options), some_pairs(2))
    assert len(set(found)) > 1


def test_made_up_tokens_do_not_decide_the_heads_dtype(own: Own) -> None:
    """Code that fails on them for another reason has its head in float32 on real rows."""
    folder = own(f"assert len(input_ids[0]) > 11; return Output(logits={ONE_HEAD})")
    with_one_head(folder)
    state = stored(folder)
    state["v_head.weight"] = state["v_head.weight"].float() * 1.001  # stored finer
    save(state, folder)
    model = reward(folder, trust_remote_code=True, dtype="bfloat16")
    found = rewards(model, some_pairs(2))
    assert model.scorer.head_dtype == "float32"
    assert found != [rounded(value) for value in found]
    import torch

    weight = dict(model.model.named_parameters())["v_head.weight"]
    assert weight.dtype == torch.float32 and torch.equal(weight, state["v_head.weight"])


def test_code_that_fails_is_named_in_one_line(own: Own) -> None:
    model = reward(own("raise KeyError('no gating token')"), trust_remote_code=True)
    with pytest.raises(HarnessError, match=r"own code \(OwnReward\) fails .*KeyError.*gating") as e:
        rewards(model, some_pairs(1))
    assert "\n" not in str(e.value)


def test_running_out_of_memory_stays_what_it_is(own: Own) -> None:
    """batch_size=auto looks for it."""
    body = "raise RuntimeError('CUDA out of memory.')"
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory\.$"):
        rewards(reward(own(body), trust_remote_code=True), some_pairs(1))


def test_a_reward_token_is_put_behind_every_conversation(own: Own) -> None:
    """InternLM2-Reward: its get_score appends config.reward_token_id, its template does not."""
    folder = own(RETURNS["logits"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"reward_token_id": 7}))
    model = reward(folder, trust_remote_code=True)
    pairs = some_pairs(2)
    found = rewards(model, pairs)
    assert found == pytest.approx(by_hand(folder, pairs, (7,)), abs=1e-5)
    assert found != pytest.approx(by_hand(folder, pairs), abs=1e-2)
    assert model.scorer([[5, 6, 7]]) == model.scorer([[5, 6]])  # not twice


def save(state: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def rounded(value: float) -> float:
    import torch

    return float(torch.tensor(value).bfloat16())


def test_a_class_that_transformers_has_by_now(reward_model: Path, tmp_path: Path) -> None:
    """auto_map may still name the code of before: not needed, and not run without trust."""
    folder = Path(shutil.copytree(reward_model, tmp_path / "old"))
    config = json.loads((folder / "config.json").read_text())
    name = "LlamaForSequenceClassification"
    config["auto_map"] = {"AutoModelForSequenceClassification": f"modeling_llama.{name}"}
    (folder / "config.json").write_text(json.dumps(config))
    pairs = some_pairs(1)
    assert rewards(reward(folder), pairs) == rewards(reward(reward_model), pairs)


def test_an_activation_for_own_code(own: Own) -> None:
    with pytest.raises(HarnessError, match="head_activation=relu has no effect"):
        reward(own(RETURNS["logits"]), trust_remote_code=True, head_activation="relu")
