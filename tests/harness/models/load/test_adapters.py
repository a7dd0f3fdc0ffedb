"""``peft=`` and `dogerm train export`: what an adapter's folder holds counts as the adapter's.

What is expected is what transformers and PEFT alone give on the rendered conversation.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.train import train
from harness.errors import HarnessError
from tests.harness.conftest import CHATML
from tests.harness.models.load.test_completeness import reward, scored_by
from tests.harness.models.test_reward import rewards, some_pairs

PAIRS = some_pairs(3)
OTHER = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"


def trained(
    base: Path,
    folder: Path,
    *,
    auto: str = "AutoModelForSequenceClassification",
    rows: int | None = None,
    labels: int = 1,
    seed: int = 4,
    **settings: Any,
) -> Any:
    """An adapter with random weights on `base`, saved; the model that it makes, in eval mode."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    kind = "CAUSAL_LM" if "Causal" in auto else "SEQ_CLS"
    more = {} if kind == "CAUSAL_LM" else {"num_labels": labels}
    torch.manual_seed(seed)
    model = getattr(transformers, auto).from_pretrained(base, **more)
    if rows is not None:
        model.resize_token_embeddings(rows, mean_resizing=False)
    given = {"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    made = get_peft_model(model, LoraConfig(**{**given, "task_type": kind, **settings})).eval()
    for name, parameter in made.named_parameters():
        if parameter.requires_grad and "lora_" not in name:  # what was trained has changed
            parameter.data += 0.2 * torch.randn_like(parameter)
    made.save_pretrained(folder)
    return made


def own(tokenizer: Any, template: str | None, *extra: str) -> Any:
    import copy

    made = copy.deepcopy(tokenizer)
    made.chat_template = template
    made.add_tokens(list(extra))
    return made


@pytest.fixture
def base(language_model: Path, tokenizer: Any, tmp_path: Path) -> Path:
    """A language model whose tokenizer has another chat template than the adapters were given."""
    folder = Path(shutil.copytree(language_model, tmp_path / "base"))
    (folder / "chat_template.jinja").unlink()
    own(tokenizer, OTHER).save_pretrained(folder)
    return folder


def test_the_adapters_tokenizer_and_template_count(
    base: Path, tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """TRL saves both beside the adapter; the base's template is another model's."""
    made = trained(base, tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    caplog.set_level("INFO")
    model = reward(base, peft=str(tmp_path / "adapter"))
    assert rewards(model, PAIRS) == pytest.approx(scored_by(made, tokenizer, PAIRS), abs=1e-5)
    assert model.encoder.template.text == CHATML
    assert any("are those of the adapter" in line for line in caplog.messages)


@pytest.mark.parametrize("named", ["tokenizer", "chat_template"])
def test_what_the_user_names_comes_first(
    base: Path, tokenizer: Any, tmp_path: Path, named: str
) -> None:
    trained(base, tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    given = str(base) if named == "tokenizer" else OTHER
    model = reward(base, peft=str(tmp_path / "adapter"), **{named: given})
    assert model.encoder.template.text == OTHER


def test_a_template_alone_goes_with_the_bases_tokenizer(
    base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    made = trained(base, tmp_path / "adapter")
    (tmp_path / "adapter" / "chat_template.jinja").write_text(CHATML)
    model = reward(base, peft=str(tmp_path / "adapter"))
    assert rewards(model, PAIRS) == pytest.approx(scored_by(made, tokenizer, PAIRS), abs=1e-5)


def test_a_tokenizer_without_a_template_takes_the_bases(
    base: Path, tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = trained(base, tmp_path / "adapter")
    own(tokenizer, None).save_pretrained(tmp_path / "adapter")
    model = reward(base, peft=str(tmp_path / "adapter"))
    expected = scored_by(made, own(tokenizer, OTHER), PAIRS)
    assert rewards(model, PAIRS) == pytest.approx(expected, abs=1e-5)
    assert any("without a chat template" in line for line in caplog.messages)


FORMS: dict[str, dict[str, Any]] = {
    "head": {},
    "embeddings": {"modules_to_save": ["embed_tokens", "score"]},
    "single tokens": {"trainable_token_indices": [9, 40]},
    "lora on embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "padded rows": {"rows": 512, "modules_to_save": ["embed_tokens"]},
    "DoRA": {"use_dora": True},
    "rank-stabilised": {"use_rslora": True},
    "biases": {"bias": "lora_only", "target_modules": ["q_proj", "score"]},
    "patterns": {"rank_pattern": {"layers.0.*": 4}, "alpha_pattern": {"layers.1.*": 16}},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_scores_and_exports(
    form: str, base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """The reward of transformers and PEFT, and the weights that the two merge to."""
    made = trained(base, tmp_path / "adapter", **FORMS[form])
    tokenizer.save_pretrained(tmp_path / "adapter")
    expected = scored_by(made, tokenizer, PAIRS)
    model = reward(base, peft=str(tmp_path / "adapter"), dtype="float32")
    assert rewards(model, PAIRS) == pytest.approx(expected, abs=1e-5)
    assert exported_as(made, base, tmp_path)


def exported_as(made: Any, base: Path, folder: Path) -> bool:
    """Whether the export's tensors are those of the merged model, the body rounded to bf16 once."""
    from safetensors.torch import load_file

    done = export(base, folder)
    assert done.exit_code == 0, done.output
    found = load_file(folder / "out" / "model.safetensors")
    expected = {
        name: tensor if name.startswith("score.") else tensor.bfloat16()
        for name, tensor in made.merge_and_unload().state_dict().items()
    }
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype and found[name].equal(tensor)
        for name, tensor in expected.items()
    )


def export(base: Path, folder: Path) -> Any:
    arguments = ["export", str(folder / "adapter"), "--model", str(base)]
    return CliRunner().invoke(train, [*arguments, "-o", str(folder / "out")])


def test_added_tokens_keep_their_rows(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """A token that the base does not know, in the prompt: its trained row is what is looked up."""
    wider = own(tokenizer, CHATML, "<|new|>")
    made = trained(base, tmp_path / "adapter", rows=len(wider), modules_to_save=["embed_tokens"])
    wider.save_pretrained(tmp_path / "adapter")
    pairs = [("What is <|new|>?", "It is 1."), ("<|new|>", "2")]
    expected = scored_by(made, wider, pairs)
    model = reward(base, peft=str(tmp_path / "adapter"), dtype="float32")
    assert rewards(model, pairs) == pytest.approx(expected, abs=1e-5)
    assert exported_as(made, base, tmp_path)


def test_added_tokens_without_rows_are_named(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """lm-eval would give them random ones."""
    trained(base, tmp_path / "adapter")
    own(tokenizer, CHATML, "<|new|>", "<|other|>").save_pretrained(tmp_path / "adapter")
    with pytest.raises(HarnessError, match=r"2 tokens .*<\|new\|>.*have no row"):
        reward(base, peft=str(tmp_path / "adapter"))


def test_a_head_keeps_its_digits(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """A bfloat16 body, and the head in the float32 that the adapter stores."""
    trained(base, tmp_path / "adapter")
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    (name,) = (name for name in stored if "score" in name)
    model = reward(base, peft=str(tmp_path / "adapter"), dtype="bfloat16")
    heads = dict(model.model.named_parameters())
    (held,) = (p for n, p in heads.items() if "score.modules_to_save" in n)
    assert held.dtype == stored[name].dtype and (held == stored[name]).all()


def test_a_value_head_beside_the_adapter(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """LLaMA-Factory's reward model by LoRA: a language model's adapter, its head beside it."""
    import torch
    from safetensors.torch import save_file

    settings = {"modules_to_save": ["embed_tokens", "lm_head"]}  # what it does for new tokens
    made = trained(base, tmp_path / "adapter", auto="AutoModelForCausalLM", **settings)
    tokenizer.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(6)
    head = {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)}
    save_file(head, tmp_path / "adapter" / "value_head.safetensors")
    trunk, expected = made.get_base_model().model, []
    for prompt, response in PAIRS:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        inputs = tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
        with torch.no_grad():
            last = trunk(**inputs).last_hidden_state[0, -1]
        weight, bias = head.values()
        expected.append(float(weight[0] @ last + bias))
    model = reward(base, peft=str(tmp_path / "adapter"), dtype="float32")
    assert rewards(model, PAIRS) == pytest.approx(expected, abs=1e-5)


Damage = Callable[[Path], None]


def _without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file({n: t for n, t in load_file(file).items() if "score" not in n}, file)


def _of_another_size(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file({n: t.repeat(1, 2) for n, t in load_file(file).items()}, file)


def _of_another_class(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    state = load_file(file)
    more = {n.replace("layers.0", "layers.7"): t.clone() for n, t in state.items() if "lora" in n}
    save_file({**state, **more}, file)


MISTAKES: dict[str, tuple[Damage, str]] = {
    "no head": (_without_head, r"score.weight"),
    "another size": (_of_another_size, r"does not fit .*size mismatch"),
    "more layers": (_of_another_class, r"layers.7.* have no place in LlamaForSequenceClass"),
    "cut config": (
        lambda folder: (folder / "adapter_config.json").write_text("{"),
        r"adapter_config.json",
    ),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        r"lacks adapter_model.safetensors",
    ),
    "cut weights": (
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"cut"),
        r"adapter_model.safetensors: can't be read",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, base: Path, tmp_path: Path) -> None:
    """In scoring and in export; nothing is written."""
    trained(base, tmp_path / "adapter")
    damage, said = MISTAKES[mistake]
    damage(tmp_path / "adapter")
    with pytest.raises(HarnessError, match=said) as caught:
        reward(base, peft=str(tmp_path / "adapter"))
    assert "\n" not in str(caught.value)
    done = export(base, tmp_path)
    assert done.exit_code == 1 and not (tmp_path / "out").exists()
    (line,) = (line for line in done.output.splitlines() if line.startswith("Error: "))
    assert "adapter" in line


def test_a_language_models_adapter_is_no_reward_models(base: Path, tmp_path: Path) -> None:
    trained(base, tmp_path / "adapter", auto="AutoModelForCausalLM")
    with pytest.raises(HarnessError, match=r"no reward model|not a reward model"):
        reward(base, peft=str(tmp_path / "adapter"))


def test_an_adapter_alone_says_how_it_is_scored(base: Path, tmp_path: Path) -> None:
    trained(base, tmp_path / "adapter")
    with pytest.raises(HarnessError, match=r"is an adapter .*pretrained=BASE,peft="):
        reward(tmp_path / "adapter")


def test_several_labels_are_refused_by_name(base: Path, tmp_path: Path) -> None:
    trained(base, tmp_path / "adapter", labels=3)
    with pytest.raises(HarnessError, match="3"):
        reward(base, peft=str(tmp_path / "adapter"))


def test_pickled_adapters_are_read(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    """adapter_model.bin, as PEFT wrote it until 2023."""
    import torch
    from safetensors.torch import load_file

    made = trained(base, tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    model = reward(base, peft=str(tmp_path / "adapter"))
    assert rewards(model, PAIRS) == pytest.approx(scored_by(made, tokenizer, PAIRS), abs=1e-5)
    assert json.loads((file.parent / "adapter_config.json").read_text())["peft_type"] == "LORA"
