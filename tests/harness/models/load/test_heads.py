"""Reward heads as people publish them give the reward that their own classes give."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from harness.errors import HarnessError
from tests.harness.conftest import sharpened
from tests.harness.models.load.test_completeness import reward
from tests.harness.models.test_reward import rewards, some_pairs

WIDTH = 32


class Layout(NamedTuple):
    """What a published checkpoint looks like.

    `layers` are names and shapes of its linear layers; `trunk` is what its body's names begin with;
    `extra` are further tensors, `config` further keys of config.json.
    """

    architecture: str
    layers: tuple[tuple[str, tuple[int, int]], ...]
    trunk: str = "model."
    biases: bool = True
    lm_head: str | None = None
    extra: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    config: Mapping[str, Any] = MappingProxyType({})
    activation: str = "linear"
    arguments: Mapping[str, Any] = MappingProxyType({})


def mlp(first: str, second: str, between: int = 8) -> tuple[tuple[str, tuple[int, int]], ...]:
    return (first, (between, WIDTH)), (second, (1, between))


NORMALIZER = {"normalizer.mean": (1,), "normalizer.var": (1,), "normalizer.count": (1,)}

LAYOUTS = {
    "trl": Layout("LlamaForCausalLM", (("v_head.summary", (1, WIDTH)),), lm_head="lm_head.weight"),
    "trl, wrapped": Layout(
        "LlamaForCausalLM",
        (("v_head.summary", (1, WIDTH)),),
        trunk="pretrained_model.model.",
        lm_head="pretrained_model.lm_head.weight",
    ),
    "regression head": Layout("LlamaRewardModel", (("regression_head", (1, WIDTH)),), biases=False),
    "another trunk name": Layout(
        "GPTRewardModel", (("v_head", (1, WIDTH)),), trunk="transformer.", biases=False
    ),
    "score head": Layout(
        "LlamaModelForScore",
        (("score_head", (1, WIDTH)),),
        extra=NORMALIZER,
        config={"do_normalize": False},
    ),
    "bare trunk": Layout("LlamaModel", (("value_head", (1, WIDTH)),), trunk=""),
    "a bias that the class lacks": Layout(
        "LlamaForSequenceClassification", (("score", (1, WIDTH)),), config={"num_labels": 1}
    ),
    "grm": Layout(
        "LlamaForCausalLM",
        mlp("v_head.summary.0", "v_head.summary.2"),
        lm_head="lm_head.weight",
        config={"vhead_layer_type": "mlp"},
        activation="relu",
    ),
    "mlp score": Layout(
        "LlamaForSequenceClassification",
        mlp("score.0", "score.2"),
        activation="gelu",
        arguments={"head_activation": "gelu"},
    ),
    "mlp by name": Layout(
        "LlamaRewardModel",
        mlp("reward_head.dense", "reward_head.out_proj"),
        activation="tanh",
        arguments={"head_activation": "tanh"},
    ),
    "three layers": Layout(
        "LlamaRewardModel",
        (("head.fc1", (8, WIDTH)), ("head.fc2", (8, 8)), ("head.fc3", (1, 8))),
        activation="silu",
        arguments={"head_activation": "silu"},
    ),
    "names that the built class could have": Layout(
        "LlamaRewardModel",
        (("score.0", (16, WIDTH)), ("score.1", (8, 16)), ("score.2", (1, 8))),
        activation="relu",
        arguments={"head_activation": "relu"},
    ),
    "two layers, nothing between": Layout(
        "LlamaRewardModel",
        mlp("head.0", "head.1"),
        arguments={"head_activation": "linear"},
    ),
}

Publish = Callable[..., Path]


@pytest.fixture
def publish(tmp_path: Path, tokenizer: Any, small_config: dict[str, Any]) -> Publish:
    """Writes a tiny checkpoint in a layout."""

    def make(layout: Layout, *, shards: bool = False, pickled: bool = False, **sizes: Any) -> Path:
        import torch
        from safetensors.torch import save_file
        from transformers import LlamaConfig, LlamaModel

        plain = {k: v for k, v in small_config.items() if k != "num_labels"}
        config = LlamaConfig(**{**plain, **sizes})
        body = sharpened(LlamaModel(config)).state_dict()
        state = {layout.trunk + name: tensor for name, tensor in body.items()}
        torch.manual_seed(5)
        for name, shape in layout.layers:
            state[f"{name}.weight"] = torch.randn(shape) / shape[1] ** 0.5
            if layout.biases:
                state[f"{name}.bias"] = torch.randn(shape[0])
        for name, size in layout.extra.items():
            state[name] = torch.rand(size)
        if layout.lm_head:
            state[layout.lm_head] = torch.randn(config.vocab_size, WIDTH)
        text = {**config.to_dict(), "architectures": [layout.architecture], **layout.config}
        (tmp_path / "config.json").write_text(json.dumps(text))
        tokenizer.save_pretrained(tmp_path)
        if pickled:
            torch.save(state, tmp_path / "pytorch_model.bin")
        elif shards:
            names = sorted(state)
            parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
            for file, part in parts.items():
                save_file({n: state[n] for n in part}, tmp_path / file, metadata={"format": "pt"})
            index = {n: file for file, part in parts.items() for n in part}
            text = json.dumps({"metadata": {}, "weight_map": index})
            (tmp_path / "model.safetensors.index.json").write_text(text)
        else:
            save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
        return tmp_path

    return make


def stored(folder: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    for file in folder.glob("*.bin"):
        found |= torch.load(file, weights_only=True)
    return found


def by_hand(
    folder: Path, layout: Layout, pairs: list[tuple[str, str]], skipped: int | None = None
) -> list[float]:
    """The body alone, the state of the last token (that is not `skipped`), and matrix products."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    state = stored(folder)
    body = LlamaModel(AutoConfig.from_pretrained(folder)).eval()
    own = {
        name.removeprefix(layout.trunk): tensor.float()
        for name, tensor in state.items()
        if name.startswith(layout.trunk)
    }
    body.load_state_dict({name: own[name] for name in body.state_dict()})
    between = {"linear": lambda x: x, "silu": torch.nn.functional.silu}.get(
        layout.activation
    ) or getattr(torch, layout.activation, torch.nn.functional.gelu)
    values = []
    for prompt, response in pairs:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        with torch.no_grad():
            states = body(input_ids=torch.tensor([ids])).last_hidden_state[0]
        x = states[max(index for index, token in enumerate(ids) if token != skipped)]
        for number, (name, _) in enumerate(layout.layers):
            x = between(x) if number else x
            x = state[f"{name}.weight"].float() @ x
            x = x + state[f"{name}.bias"].float() if layout.biases else x
        values.append(float(x))
    return values


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_heads(name: str, publish: Publish) -> None:
    """Found by structure, computed in float32 apart from the body, in padded batches."""
    layout = LAYOUTS[name]
    folder = publish(layout)
    model = reward(folder, **layout.arguments)
    assert not model.scorer.own_forward and model.scorer.pads
    assert model.scorer.head_dtype == "float32" and model.model.config.num_labels == 1
    pairs = some_pairs(4)
    expected = by_hand(folder, layout, pairs)
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1


@pytest.mark.parametrize("form", ["shards", "pickled"])
def test_every_form_of_file(form: str, publish: Publish) -> None:
    layout = LAYOUTS["trl, wrapped"]
    folder = publish(layout, **{form: True})
    pairs = some_pairs(2)
    expected = by_hand(folder, layout, pairs)
    assert rewards(reward(folder), pairs) == pytest.approx(expected, abs=1e-5)


def test_a_published_head_is_read_at_the_last_token(publish: Publish, tokenizer: Any) -> None:
    """Even where that is the pad token; transformers' own classifiers skip it."""
    last = tokenizer.convert_tokens_to_ids(tokenizer.tokenize("\n"))[-1]
    pairs = some_pairs(2)
    for name, skipped in (("trl", None), ("mlp score", last)):
        layout = LAYOUTS[name]
        folder = publish(layout, pad_token_id=last)
        expected = by_hand(folder, layout, pairs, skipped)
        other = by_hand(folder, layout, pairs, last if skipped is None else None)
        found = rewards(reward(folder, **layout.arguments), pairs)
        assert found == pytest.approx(expected, abs=1e-5)
        assert found != pytest.approx(other, abs=1e-2)


def test_an_unlike_batch_by_the_models_own_forward(publish: Publish) -> None:
    """The built class pools by itself: left padding, right padding, and no mask."""
    import torch

    model = reward(publish(LAYOUTS["trl"])).model
    row = [9, 8, 7, 6]
    with torch.no_grad():
        alone = model(torch.tensor([row])).logits
        mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
        positions = torch.tensor([[0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 0, 0]])
        rows = torch.tensor([[5, 5, *row], [*row, 5, 5]])
        padded = model(rows, attention_mask=mask, position_ids=positions).logits
    assert alone.shape == (1, 1) and padded.shape == (2, 1)
    assert padded.flatten().tolist() == pytest.approx([float(alone)] * 2, abs=1e-5)


def test_bfloat16_keeps_the_head_in_float32(publish: Publish) -> None:
    layout = LAYOUTS["grm"]
    folder = publish(layout)
    model = reward(folder, dtype="bfloat16", batch_size=1)
    assert model.scorer.head_dtype == "float32"
    head = stored(folder)
    expected = []
    for state in pooled_states(model, some_pairs(2)):
        x = head["v_head.summary.0.weight"] @ state + head["v_head.summary.0.bias"]
        x = head["v_head.summary.2.weight"] @ x.relu() + head["v_head.summary.2.bias"]
        expected.append(float(x))
    assert rewards(model, some_pairs(2)) == pytest.approx(expected, abs=1e-5)


def pooled_states(model: Any, pairs: list[tuple[str, str]]) -> list[Any]:
    """The loaded body's own state of the last token, in float32."""
    import torch

    found = []
    for prompt, response in pairs:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = model.tokenizer.apply_chat_template(turns, return_dict=False)
        with torch.no_grad():
            found.append(model.model.model(torch.tensor([ids])).last_hidden_state[0, -1].float())
    return found


@pytest.mark.parametrize("form", ["whole", "shards", "pickled"])
@pytest.mark.parametrize("head", ["v_head.summary", "score"])
def test_a_head_stored_finer_than_the_body_keeps_its_digits(
    head: str, form: str, publish: Publish
) -> None:
    """TRL's layout, a bf16 body with an fp32 head, and transformers' own class with one."""
    import torch

    layout = LAYOUTS["trl"]._replace(layers=((head, (1, WIDTH)),), biases=head != "score")
    if head == "score":
        layout = layout._replace(architecture="LlamaForSequenceClassification", lm_head=None)
        layout = layout._replace(config={"num_labels": 1})
    folder = publish(layout, **({} if form == "whole" else {form: True}))
    tensors = stored(folder)
    weight, bias = tensors[f"{head}.weight"], tensors.get(f"{head}.bias", torch.zeros(1))
    assert not torch.equal(weight, weight.bfloat16().float())
    model = reward(folder, dtype="bfloat16", batch_size=1)
    pairs = some_pairs(2)
    states = pooled_states(model, pairs)
    expected = [float(torch.nn.functional.linear(state, weight, bias)) for state in states]
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-6)
    coarse = reward(folder, dtype="bfloat16", batch_size=1, head_dtype="auto")
    assert coarse.scorer.head_dtype == "the model's own"
    rounded = [
        float(
            torch.nn.functional.linear(state.bfloat16(), weight.bfloat16(), bias.bfloat16()).float()
        )
        for state in states
    ]
    assert rewards(coarse, pairs) == rounded
    assert rounded != pytest.approx(expected, abs=1e-4)


def test_an_adapter_on_a_value_head_model(
    publish: Publish, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """peft= works as on transformers' own reward models."""
    from peft import LoraConfig, get_peft_model

    folder = publish(LAYOUTS["trl"])
    model = reward(folder)
    pairs = some_pairs(2)
    before = rewards(model, pairs)
    lora = LoraConfig(target_modules=["q_proj"], r=2, init_lora_weights=False)
    adapter = tmp_path_factory.mktemp("adapter")
    wrapped = get_peft_model(model.model, lora).eval()
    wrapped.save_pretrained(adapter)
    expected = rewards(model, pairs)  # the adapter is in its modules now
    assert expected != pytest.approx(before, abs=1e-3)
    found = rewards(reward(folder, peft=str(adapter)), pairs)
    assert found == pytest.approx(expected, abs=1e-5)


V_HEAD = Layout("LlamaForCausalLM", (("v_head.summary", (1, WIDTH)),), lm_head="lm_head.weight")
REFUSED = {
    "wrong width": (
        V_HEAD._replace(layers=(("v_head", (1, 16)),)),
        {},
        r"v_head.weight \[1, 16\]\) are no reward head.* hidden size 32 to 1",
    ),
    "several objectives": (
        V_HEAD._replace(layers=(("regression_layer", (19, WIDTH)),)),
        {},
        r"regression_layer.weight \[19, 32\]\) are no reward head.*trust_remote_code=True",
    ),
    "two heads": (
        V_HEAD._replace(extra={"score_head.weight": (1, WIDTH)}),
        {},
        "holds 2 reward heads",
    ),
    "the class's own and another": (
        V_HEAD._replace(extra={"score.weight": (1, WIDTH)}),
        {},
        "holds 2 reward heads",
    ),
    "something beside it": (
        V_HEAD._replace(extra={"gate.weight": (4, 4)}),
        {},
        r"beside its reward head v_head it holds gate.weight \[4, 4\]",
    ),
    "a layer norm in it": (
        V_HEAD._replace(extra={"v_head.norm.weight": (WIDTH,)}),
        {},
        "are no reward head",
    ),
    "normalized rewards": (
        LAYOUTS["score head"]._replace(config={"do_normalize": True}),
        {},
        "beside its reward head score_head it holds normalizer.count",
    ),
    "a cost model": (
        LAYOUTS["score head"]._replace(config={"score_type": "cost"}),
        {},
        "score_type=cost.*a higher score is worse",
    ),
    "more of a body than the class knows": (
        V_HEAD._replace(extra={"model.score_norm.weight": (WIDTH,)}),
        {},
        "LlamaBodyAndHead has no place for model.score_norm.weight of its body",
    ),
    "an activation that nothing names": (
        LAYOUTS["mlp score"],
        {},
        r"has 2 layers \(score.0 \[8, 32\], score.2 \[1, 8\]\).*head_activation=relu\|gelu",
    ),
    "an unknown activation": (
        LAYOUTS["mlp score"],
        {"head_activation": "swish"},
        "head_activation=swish is unknown; it is one of relu, gelu",
    ),
    "an activation for one layer": (
        V_HEAD,
        {"head_activation": "relu"},
        "head_activation=relu has no effect: the head v_head.summary has one layer",
    ),
    "three layers in no order": (
        Layout("X", (("h.in", (8, WIDTH)), ("h.mid", (8, 8)), ("h.out", (1, 8)))),
        {"head_activation": "relu"},
        "are no reward head",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_single_head_is_refused(name: str, publish: Publish) -> None:
    layout, arguments, message = REFUSED[name]
    with pytest.raises(HarnessError, match=message) as caught:
        reward(publish(layout), **arguments)
    assert "\n" not in str(caught.value)


def test_a_body_that_is_not_whole_is_refused(publish: Publish) -> None:
    from tests.harness.models.load.test_completeness import without_tensors

    folder = publish(LAYOUTS["trl, wrapped"])
    without_tensors(folder, "pretrained_model.model.layers.1.mlp")
    with pytest.raises(HarnessError, match="lacks 3 tensors of the model's body"):
        reward(folder)


def test_a_cache_knows_the_activation(publish: Publish) -> None:
    """Rewards of --use_cache are not served to the same weights with another activation."""
    folder = publish(LAYOUTS["mlp score"])
    tanh, relu = (reward(folder, head_activation=word) for word in ("tanh", "relu"))
    assert rewards(tanh, some_pairs(1)) != rewards(relu, some_pairs(1))
    differing = {key for key, text in tanh.identity().items() if relu.identity()[key] != text}
    assert differing == {"head_activation"}


def test_an_activation_for_transformers_own_head(reward_model: Path) -> None:
    with pytest.raises(HarnessError, match="no effect: the head is that of transformers' own"):
        reward(reward_model, head_activation="relu")


BODIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "opt": {"word_embed_proj_dim": 16, "ffn_dim": 48},
    "gpt_neox": {},
    "gemma2": {"head_dim": 8, "sliding_window": 8},
    "mixtral": {"num_local_experts": 4},  # experts are stored apart and joined on loading
    "mamba": {"state_size": 4},  # a type without a classifier in transformers
}


@pytest.mark.parametrize("model_type", BODIES)
def test_trl_value_heads_on_other_bodies(
    model_type: str, tmp_path: Path, tokenizer: Any, small_config: dict[str, Any]
) -> None:
    """As TRL defines it: the causal LM's last hidden state at the last token, and v_head."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {key: value for key, value in small_config.items() if key != "num_labels"}
    config = AutoConfig.for_model(model_type, **{**sizes, **BODIES[model_type]})
    model = sharpened(AutoModelForCausalLM.from_config(config))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(5)
    width = BODIES[model_type].get("word_embed_proj_dim", WIDTH)
    head = {"v_head.summary.weight": torch.randn(1, width), "v_head.summary.bias": torch.randn(1)}
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | head, file, metadata={"format": "pt"})
    expected = []
    for prompt, response in some_pairs(2):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        with torch.no_grad():
            output = model(torch.tensor([ids]), output_hidden_states=True)
        state = output.hidden_states[-1][0, -1]
        expected.append(float(head["v_head.summary.weight"] @ state + head["v_head.summary.bias"]))
    assert rewards(reward(tmp_path), some_pairs(2)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_every_decoder_type_with_a_value_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRL's layout on all of them; their own classifiers and language models stay what they are."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
    )

    from harness.models.load.published import find_head
    from harness.models.load.reward_loader import loader_for
    from harness.models.load.stored_tensors import stored_shapes
    from tests.harness.models.load.test_architectures import tiny_models

    tiny = tiny_models()
    ids = torch.tensor([[5, 9, 17, 33, 8, 21]])
    failed = {}
    for name in tiny.decoder_types():
        config = tiny.tiny_config(name)
        config.num_labels = config.get_text_config().num_labels = 1
        for auto in (AutoModelForSequenceClassification, AutoModelForCausalLM):
            folder = tmp_path / f"{name}-{auto.__name__}"
            torch.manual_seed(0)
            model = sharpened(auto.from_config(config))
            model.save_pretrained(folder)
            config = AutoConfig.from_pretrained(folder)
            assert find_head(name, config, stored_shapes(str(folder)) or {}) is None, name
        with torch.no_grad():
            output = model(ids, output_hidden_states=True)
        state = output.hidden_states[-1][0, -1]
        weight = torch.randn(1, len(state))
        file = folder / "model.safetensors"
        head = {"v_head.summary.weight": weight, "v_head.summary.bias": torch.ones(1)}
        save_file(load_file(file) | head, file, metadata={"format": "pt"})
        loader = loader_for(str(folder), config, AutoModelForSequenceClassification)
        built = loader.from_pretrained(str(folder)).eval()
        with torch.no_grad():
            found = float(built(ids).logits)
        expected = float(weight @ state) + 1
        if loader.missing or loader.mismatched:
            failed[name] = f"lacks {loader.missing or loader.mismatched}"
        elif abs(found - expected) > 1e-4 * max(1, abs(expected)):
            failed[name] = f"{found} is not {expected}"
    with capsys.disabled():
        print(f"\nnot as TRL: {failed or 'none'}")
    assert not failed
