"""`MODEL+ADAPTER` in a recipe: right class, and the adapter's head, rows, tokenizer, template."""

import os
import shutil
from pathlib import Path

import merging
import peft
import pytest
import torch
from merging import Trio, interpolated, same
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)

from dogerm_plugin.errors import MergeError
from dogerm_plugin.files.locks import lock_of
from dogerm_plugin.host import lora_cache
from dogerm_plugin.run.in_memory import Merges

OWN = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"


def make(
    base: Path, folder: Path, kind: str = "SEQ_CLS", rows: int | None = None, **settings: object
) -> PreTrainedModel:
    """An adapter as small as training makes it, saved; the model that it makes of its base."""
    torch.manual_seed(11)
    if kind == "SEQ_CLS":
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    else:
        model = AutoModelForCausalLM.from_pretrained(base)
    if rows:
        model.resize_token_embeddings(rows, mean_resizing=False)
    given = {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": False, **settings}
    tuned = peft.get_peft_model(model, peft.LoraConfig(task_type=kind, **given))
    merging.shrink(tuned)
    tuned.save_pretrained(folder)
    return tuned.merge_and_unload()


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def cache(folder: Path) -> tuple[str, str]:
    return "--lora-merge-cache", str(folder / "cache")


def test_a_language_model_and_a_reward_adapter_are_a_reward_model(
    trio: Trio, tmp_path: Path
) -> None:
    """What TRL's RewardTrainer with LoRA leaves: the head is the adapter's, to the bit."""
    lora = tmp_path / "lora"
    whole = make(trio.lm, lora)
    tokenizer = AutoTokenizer.from_pretrained(trio.lm)
    tokenizer.chat_template = OWN
    tokenizer.save_pretrained(lora)
    recipe = merging.recipe(f"{trio.lm}+{lora}", (trio.other, 0.3))
    out = merging.merged(tmp_path, recipe, *cache(tmp_path))
    assert same(out, interpolated(dict(whole.state_dict()), (merging.tensors(trio.other), 0.3)))
    (head,) = (tensor for name, tensor in stored(lora).items() if "score" in name)
    assert out["score.weight"].dtype == head.dtype and torch.equal(out["score.weight"], head)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == OWN
    loaded, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert loaded.config.num_labels == 1 and not report["missing_keys"]


def test_a_float32_head_on_a_bfloat16_body(own_trio: Trio, tmp_path: Path) -> None:
    """Each in the dtype that it is stored in."""
    AutoModelForCausalLM.from_pretrained(own_trio.lm).to(torch.bfloat16).save_pretrained(
        own_trio.lm
    )
    make(own_trio.lm, tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_model.safetensors"
    state = {name: tensor.float() for name, tensor in stored(tmp_path / "lora").items()}
    (name,) = (name for name in state if "score" in name)
    state[name] = state[name] + 1e-4  # no bfloat16
    save_file(state, file, metadata={"format": "pt"})
    recipe = merging.recipe(f"{own_trio.lm}+{tmp_path / 'lora'}", (own_trio.other, 0.3))
    out = merging.merged(tmp_path, recipe, *cache(tmp_path))
    assert torch.equal(out["score.weight"], state[name])
    assert out["model.layers.0.self_attn.q_proj.weight"].dtype == torch.bfloat16


def test_rows_that_an_adapter_was_trained_with(trio: Trio, tmp_path: Path) -> None:
    """Tokens added before training: the recipe aligns them as of any model with more tokens."""
    lora = tmp_path / "lora"
    whole = make(trio.lm, lora, "CAUSAL_LM", rows=98, modules_to_save=["embed_tokens"])
    tokenizer = AutoTokenizer.from_pretrained(trio.lm)
    tokenizer.add_tokens(["new1", "new2"])
    tokenizer.save_pretrained(lora)
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{lora}", 0.3))
    assert "2 only in" in merging.refused(tmp_path, recipe, *cache(tmp_path))
    recipe["tokenizer"] = {"source": "union"}
    out = merging.merged(tmp_path, recipe, *cache(tmp_path))
    rows = whole.get_input_embeddings().weight.data
    assert torch.equal(out["model.embed_tokens.weight"][96:], rows[96:])


def test_an_adapter_that_was_trained_on_is_merged_anew(trio: Trio, tmp_path: Path) -> None:
    """The names are the same; mergekit would take the cached merge of the earlier one."""
    lora = tmp_path / "lora"
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{lora}", 0.3))
    make(trio.lm, lora, "CAUSAL_LM")
    first = merging.merged(tmp_path, recipe, *cache(tmp_path))
    whole = make(trio.lm, lora, "CAUSAL_LM", lora_alpha=32)
    second = merging.merged(tmp_path, recipe, *cache(tmp_path))
    assert not same(first, second)
    expected = interpolated(merging.tensors(trio.rm), (dict(whole.state_dict()), 0.3))
    assert same(second, expected)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_merge_of_an_adapter_that_fails_leaves_nothing(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half-made that the next merge would take as it is."""
    make(trio.lm, tmp_path / "lora", "CAUSAL_LM")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{tmp_path / 'lora'}", 0.3))

    def full(self: object, folder: Path, **_: object) -> None:
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(PreTrainedModel, "save_pretrained", full)
        assert "No space left" in merging.refused(tmp_path, recipe, *cache(tmp_path))
    assert not list((tmp_path / "cache").iterdir())
    merging.merged(tmp_path, recipe, *cache(tmp_path))


def test_an_adapter_that_changes_meanwhile(
    trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that saves while it is merged: neither the one nor the other is kept."""
    lora = tmp_path / "lora"
    make(trio.lm, lora, "CAUSAL_LM")
    write = lora_cache._write

    def slowly(*given: object) -> None:
        write(*given)
        make(trio.lm, lora, "CAUSAL_LM", lora_alpha=32)

    monkeypatch.setattr(lora_cache, "_write", slowly)
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{lora}", 0.3))
    assert "changed while" in merging.refused(tmp_path, recipe, *cache(tmp_path))
    assert not list((tmp_path / "cache").iterdir())


def test_in_memory_the_same(trio: Trio, tmp_path: Path) -> None:
    """Sweeps and searches take `MODEL+ADAPTER` on either side."""
    from mergekit.config import MergeConfiguration
    from mergekit.options import MergeOptions

    make(trio.lm, tmp_path / "reward")
    make(trio.other, tmp_path / "domain", "CAUSAL_LM")
    recipe = merging.recipe(
        f"{trio.lm}+{tmp_path / 'reward'}", (f"{trio.other}+{tmp_path / 'domain'}", 0.4)
    )
    written = merging.merged(tmp_path, recipe, *cache(tmp_path))
    options = MergeOptions(quiet=True, lora_merge_cache=str(tmp_path / "cache"))
    config = MergeConfiguration.model_validate(recipe)
    assert same(dict(Merges(config, options).tensors(config)), written)


def test_a_value_head_beside_the_adapter(trio: Trio, tmp_path: Path) -> None:
    """LLaMA-Factory's: a language model's adapter, and the head in a file of its own."""
    lora = tmp_path / "lora"
    make(trio.lm, lora, "CAUSAL_LM")
    head = {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)}
    save_file(head, lora / "value_head.safetensors")
    recipe = merging.recipe(f"{trio.lm}+{lora}", (trio.other, 0.3))
    merging.merged(tmp_path, recipe, *cache(tmp_path))
    kept = load_file(tmp_path / "out" / "value_head.safetensors")
    assert same(kept, head)


def test_a_value_head_beside_the_base(own_trio: Trio, tmp_path: Path) -> None:
    """The adapter was trained on a reward model whose head lies beside it."""
    make(own_trio.lm, tmp_path / "lora", "CAUSAL_LM")
    head = {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)}
    save_file(head, own_trio.lm / "value_head.safetensors")
    recipe = merging.recipe(f"{own_trio.lm}+{tmp_path / 'lora'}", (own_trio.other, 0.3))
    merging.merged(tmp_path, recipe, *cache(tmp_path))
    assert same(load_file(tmp_path / "out" / "value_head.safetensors"), head)


def test_what_a_killed_merge_of_an_adapter_left_is_removed(trio: Trio, tmp_path: Path) -> None:
    """It would lie in the cache for ever; what another process is writing stays."""
    make(trio.lm, tmp_path / "lora", "CAUSAL_LM")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{tmp_path / 'lora'}", 0.3))
    merging.merged(tmp_path, recipe, *cache(tmp_path))
    (made,) = (tmp_path / "cache").iterdir()
    shutil.rmtree(made)
    left, busy = (tmp_path / "cache" / f".{made.name}.{name}" for name in ("left", "busy"))
    left.mkdir()
    busy.mkdir()
    lock = lock_of(busy)
    merging.merged(tmp_path, recipe, *cache(tmp_path))
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {made.name, busy.name}
    assert lock is not None
    os.close(lock)


@pytest.mark.parametrize(
    ("side", "kind", "said"),
    [
        ("rm", "CAUSAL_LM", "no reward head"),
        ("rm", "FEATURE_EXTRACTION", "task_type is FEATURE_EXTRACTION"),
    ],
)
def test_an_adapter_of_the_wrong_kind(
    side: str, kind: str, said: str, trio: Trio, tmp_path: Path
) -> None:
    make(trio.lm, tmp_path / "lora", "CAUSAL_LM")
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(config.read_text().replace('"CAUSAL_LM"', f'"{kind}"'))
    recipe = merging.recipe(f"{trio.lm}+{tmp_path / 'lora'}", (trio.other, 0.3))
    assert said in merging.refused(tmp_path, recipe, *cache(tmp_path))


def test_a_reward_adapter_without_its_head(trio: Trio, tmp_path: Path) -> None:
    make(trio.lm, tmp_path / "lora")
    state = {n: t for n, t in stored(tmp_path / "lora").items() if "score" not in n}
    save_file(state, tmp_path / "lora" / "adapter_model.safetensors")
    recipe = merging.recipe(f"{trio.lm}+{tmp_path / 'lora'}", (trio.other, 0.3))
    line = merging.refused(tmp_path, recipe, *cache(tmp_path))
    assert "score.weight" in line and "saved without its head" in line


@pytest.mark.parametrize("whose", ["adapter", "base"])
def test_a_tokenizer_that_is_damaged(whose: str, own_trio: Trio, tmp_path: Path) -> None:
    """It is no model without a tokenizer, whose tokens nobody could compare."""
    lora = tmp_path / "lora"
    make(own_trio.lm, lora, "CAUSAL_LM")
    if whose == "adapter":
        AutoTokenizer.from_pretrained(own_trio.lm).save_pretrained(lora)
    ((lora if whose == "adapter" else own_trio.lm) / "tokenizer.json").write_text("{}")
    recipe = merging.recipe(own_trio.rm, (f"{own_trio.lm}+{lora}", 0.3))
    assert "tokenizer can't be loaded" in merging.refused(tmp_path, recipe, *cache(tmp_path))
    assert not list((tmp_path / "cache").iterdir())


def test_an_adapters_folder_alone(trio: Trio, tmp_path: Path) -> None:
    """The way out is in the line."""
    make(trio.lm, tmp_path / "lora")
    line = merging.refused(tmp_path, merging.recipe(tmp_path / "lora", (trio.other, 0.3)))
    assert "is an adapter: write BASE+" in line


def test_the_cache_is_no_place_for_the_output(trio: Trio, tmp_path: Path) -> None:
    """An output that would replace a merged adapter while it is read."""
    make(trio.lm, tmp_path / "lora", "CAUSAL_LM")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{tmp_path / 'lora'}", 0.3))
    line = merging.refused(tmp_path, recipe, *cache(tmp_path), out=tmp_path / "cache")
    assert "holds the input model" in line


def test_a_cache_that_cannot_be_written(trio: Trio, tmp_path: Path) -> None:
    make(trio.lm, tmp_path / "lora", "CAUSAL_LM")
    (tmp_path / "file").write_text("")
    recipe = merging.recipe(trio.rm, (f"{trio.lm}+{tmp_path / 'lora'}", 0.3))
    line = merging.refused(tmp_path, recipe, "--lora-merge-cache", str(tmp_path / "file"))
    assert "--lora-merge-cache" in line and "can't be written" in line


def test_reading_an_adapter_says_what_is_wrong(trio: Trio, tmp_path: Path) -> None:
    from dogerm_plugin.anatomy import adapter

    make(trio.lm, tmp_path / "lora")
    for name, text in (("list", "[]"), ("no", "{}"), ("deep", "[" * 100_000)):
        folder = Path(shutil.copytree(tmp_path / "lora", tmp_path / name))
        (folder / "adapter_config.json").write_text(text)
        with pytest.raises(MergeError, match=r"adapter_config.json"):
            adapter.read(str(folder))
