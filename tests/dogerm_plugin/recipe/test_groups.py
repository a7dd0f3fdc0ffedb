"""Every body tensor is in one group, told by modules; a recipe gives each group its λ."""

import re
from pathlib import Path

import merging
import pytest
import tiny
import torch
import yaml
from mergekit.common import ModelPath, ModelReference
from mergekit.config import MergeConfiguration, evaluate_setting
from mergekit.options import MergeOptions
from merging import Trio
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from dogerm_plugin.anatomy import architecture
from dogerm_plugin.anatomy.architecture import LAYER
from dogerm_plugin.anatomy.body_and_head import Anatomy, examine
from dogerm_plugin.anatomy.checkpoint import open_checkpoint
from dogerm_plugin.anatomy.layout import Layout, lay_out
from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe import groups


def laid_out(rm: Path, *others: Path) -> Layout:
    """The models matched, as a merge does it."""
    options = MergeOptions()

    def read(path: Path) -> Anatomy:
        model = ModelReference(model=ModelPath(path=str(path)))
        return examine(open_checkpoint(model, options), options)

    return lay_out(read(rm), [read(path) for path in others], options)


def weights(assigned: dict[str, list[str]], share: float = 0.02) -> dict[str, float]:
    """Another λ for every group."""
    return {group: (number + 1) * share for number, group in enumerate(assigned)}


def check(layout: Layout, grouping: str) -> dict[str, list[str]]:
    """Insist that every tensor is in one group and gets its λ from mergekit; return the groups."""
    assigned = groups.assign(layout, grouping)
    assert sorted(name for names in assigned.values() for name in names) == layout.body
    assert all(names == sorted(names) for names in assigned.values()) and all(assigned.values())
    share = weights(assigned)
    text = yaml.safe_dump(merging.recipe(Path("rm"), (Path("lm"), groups.setting(share, assigned))))
    weight = MergeConfiguration(**yaml.safe_load(text)).models[0].parameters["weight"]
    for group, names in assigned.items():
        for name in names:
            assert evaluate_setting(name, weight, validate=float) == share[group], name
    return assigned


# What a tensor is for, told by its name alone, which the product never does.
ATTENTION = {
    *("self_attn", "attn", "attention", "self_attention", "multi_head_attention"),
    *("linear_attn", "mamba"),
}
EMBEDDINGS = ("emb", "wte", "wpe", "w.weight")


def by_name(name: str) -> str:
    words = name.split(".")
    if words[0] in ("vision_tower", "visual", "multi_modal_projector") or "visual" in words:
        return "other"
    layer = next((at for at, word in enumerate(words) if word.isdigit()), None)
    if any("norm" in word or word.startswith("ln_") for word in words[:-1]):
        return "norms"
    if layer is None:
        return "embeddings" if any(text in name for text in EMBEDDINGS) else "other"
    if ATTENTION & set(words[layer + 1 :]):
        return "attention"
    return "mlp" if len(words) > layer + 2 else "other"


@pytest.mark.parametrize("model_type", tiny.decoder_types())
def test_every_type(model_type: str, tmp_path: Path) -> None:
    """Parts as the names tell them too, layers and parts of layers complete, filters exact."""
    layout = laid_out(*tiny.save_pair(tmp_path, model_type))
    parts = check(layout, "parts")
    told = {name: part for part, names in parts.items() for name in names}
    assert told == {name: by_name(name) for name in layout.body}
    assert {"embeddings", "attention", "mlp"} <= set(parts)

    runs = check(layout, "layers:3")
    text = [name for name in layout.body if "vision" not in name and LAYER.search(name)]
    for run, layers in (("1", "01"), ("2", "2"), ("3", "3")):
        inside = {name for name in text if LAYER.search(name)[1] in layers}
        assert inside and inside <= set(runs[f"layers-{run}-of-3"])
    assert set(parts["embeddings"]) <= set(runs["layers-1-of-3"])

    both = check(layout, "layers:2+parts")
    for part in ("attention", "mlp", "norms"):
        split = [names for group, names in both.items() if group.endswith(part)]
        assert sorted(name for names in split for name in names) == parts.get(part, [])
    assert both["embeddings"] == parts["embeddings"]


def test_names_and_order(trio: Trio) -> None:
    """What a reader of a search's report sees: first layers first."""
    layout = laid_out(trio.rm, trio.lm)
    assert list(groups.assign(layout, "parts")) == ["embeddings", "attention", "mlp", "norms"]
    assert groups.assign(layout, "layers:4+parts") == groups.assign(layout, "parts + layers:4")
    runs = groups.assign(layout, "layers:3+parts")
    assert list(runs) == [
        "embeddings",
        *(f"layers-{n}-of-3-{part}" for n in (1, 2, 3) for part in ("attention", "mlp", "norms")),
    ]
    assert runs["layers-3-of-3-norms"] == [
        "model.layers.3.input_layernorm.weight",
        "model.layers.3.post_attention_layernorm.weight",
        "model.norm.weight",
    ]
    assert groups.assign(layout, "layers:1") == {"layers-1-of-1": layout.body}


def test_setting_is_short(trio: Trio) -> None:
    """The lists that stand in a recipe are those that a person would write."""
    layout = laid_out(trio.rm, trio.lm)

    def texts(grouping: str) -> list[str | None]:
        assigned = groups.assign(layout, grouping)
        found = groups.setting(weights(assigned), assigned)
        return [condition.get("filter") for condition in found]

    assert texts("parts") == [".embed_tokens.", ".mlp.", ".self_attn.", None]
    assert texts("layers:2") == [".layers.2.", ".layers.3.", ".norm.", None]
    assert len(texts("layers:2+parts")) == 11


def test_beside_the_layers(tmp_path: Path) -> None:
    """A norm of the embeddings goes with the first layers, the final one with the last."""
    bloom = laid_out(*tiny.save_pair(tmp_path / "bloom", "bloom"))
    both = check(bloom, "layers:4+parts")
    assert "transformer.word_embeddings_layernorm.bias" in both["layers-1-of-4-norms"]
    assert "transformer.ln_f.bias" in both["layers-4-of-4-norms"]
    # hidden states wider than the embeddings; this class builds its final norm before its layers
    opt = laid_out(*tiny.save_pair(tmp_path / "opt", "opt", word_embed_proj_dim=16))
    projections = ["model.decoder.project_in.weight", "model.decoder.project_out.weight"]
    assert check(opt, "layers:4+parts")["other"] == projections
    runs = check(opt, "layers:4")
    assert {*projections, "model.decoder.embed_positions.weight"} < set(runs["layers-1-of-4"])
    assert "model.decoder.final_layer_norm.weight" in runs["layers-4-of-4"]


def test_vision_tower_deeper_than_the_text_model(tmp_path: Path) -> None:
    """Layers are the text decoder's; the tower of both models is a group of its own."""
    config = tiny.tiny_config("gemma3", num_labels=1)
    config.vision_config.num_hidden_layers = 9
    tiny.save_random(tmp_path / "rm", AutoModelForSequenceClassification, config, seed=0)
    tiny.save_random(tmp_path / "lm", AutoModelForCausalLM, config, seed=1)
    layout = laid_out(tmp_path / "rm", tmp_path / "lm")
    tower = [name for name in layout.body if not name.startswith("language_model.")]
    assert len(tower) > len(layout.body) / 2
    assert check(layout, "parts")["other"] == tower
    runs = check(layout, "layers:4")
    assert len(runs) == 5 and list(runs)[-1] == "other" and runs["other"] == tower
    assert check(layout, "layers:2+parts")["other"] == tower

    module = architecture.architecture(layout, set()).modules["default"].architecture
    assert module.num_layers(None) == 4  # mergekit's layers, for gradients and slices

    tiny.save_random(tmp_path / "text", AutoModelForCausalLM, config.text_config, seed=2)
    text = laid_out(tmp_path / "rm", tmp_path / "text")  # the tower is not merged at all
    assert set(tower) <= set(text.kept) and "other" not in check(text, "parts")


def test_names_on_disk_unlike_the_class(tmp_path: Path) -> None:
    """A trunk saved bare, and experts that one model stores joined."""
    rm, lm = tiny.save_pair(tmp_path / "gpt2", "gpt2")
    state = {n.removeprefix("transformer."): t for n, t in merging.tensors(rm).items()}
    save_file(state, rm / "model.safetensors", metadata={"format": "pt"})
    layout = laid_out(rm, lm)
    assert "h.0.attn.c_attn.weight" in check(layout, "parts")["attention"]
    assert "h.1.mlp.c_fc.bias" in check(layout, "layers:4+parts")["layers-2-of-4-mlp"]
    assert "ln_f.weight" in check(layout, "layers:4")["layers-4-of-4"]

    rm, lm = tiny.save_pair(tmp_path / "mixtral", "mixtral")
    state = AutoModelForCausalLM.from_pretrained(lm).state_dict()
    save_file(
        {name: tensor.clone() for name, tensor in state.items()},
        lm / "model.safetensors",
        metadata={"format": "pt"},
    )
    mlp = check(laid_out(rm, lm), "layers:4+parts")["layers-1-of-4-mlp"]
    assert mlp == [
        "model.layers.0.block_sparse_moe.gate.weight",
        "model.layers.0.mlp.experts.down_proj",
        "model.layers.0.mlp.experts.gate_up_proj",
    ]


@pytest.mark.parametrize("names", [("lm",), ("lm", "other")])
def test_merge_by_groups(names: tuple[str, ...], trio: Trio, tmp_path: Path) -> None:
    """mergekit-yaml gives every tensor its group's λs, to the bit."""
    paths = [getattr(trio, name) for name in names]
    assigned = groups.assign(laid_out(trio.rm, *paths), "layers:3+parts")
    share = [weights(assigned, 0.03 * (number + 1)) for number in range(len(paths))]
    recipe = merging.recipe(
        trio.rm,
        *((path, groups.setting(s, assigned)) for path, s in zip(paths, share, strict=True)),
    )
    out = merging.merged(tmp_path, recipe)
    rm, *others = (merging.tensors(path) for path in (trio.rm, *paths))
    assert torch.equal(out.pop("score.weight"), rm["score.weight"])
    of = {name: group for group, found in assigned.items() for name in found}
    assert set(out) == set(of)
    for name, tensor in out.items():
        shares = [s[of[name]] for s in share]
        expected = rm[name] * (1 - sum(shares))
        for other, weight in zip(others, shares, strict=True):
            expected += other[name] * weight
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "attention", "layers", "layers:", "layers:0", "layers:-1", "layers:1.5"),
        *("layers:x", "layer:3", "parts+", "parts+parts", "layers:2+layers:3", "layers:3,parts"),
    ],
)
def test_unknown_grouping(text: str, trio: Trio) -> None:
    """One line that says what may be written."""
    with pytest.raises(MergeError, match=r"is no grouping: write layers:N .* or layers:N\+parts$"):
        groups.parse(text)
    with pytest.raises(MergeError, match=re.escape(repr(text))):
        groups.assign(laid_out(trio.rm, trio.lm), text)


def test_more_runs_than_layers(trio: Trio) -> None:
    """Says how many layers there are."""
    with pytest.raises(MergeError, match=r"layers:5: .*rm has 4 layers; write layers:4 for"):
        groups.assign(laid_out(trio.rm, trio.lm), "layers:5+parts")


def test_weights_that_do_not_fit_the_groups(trio: Trio) -> None:
    """A λ too few or too many is named."""
    assigned = groups.assign(laid_out(trio.rm, trio.lm), "parts")
    share = weights(assigned)
    with pytest.raises(MergeError, match="no group 'atention'; did you mean 'attention'"):
        groups.setting({**share, "atention": 0.1}, assigned)
    del share["mlp"]
    with pytest.raises(MergeError, match="mlp has no value"):
        groups.setting(share, assigned)
