"""Lists of filters mean, by mergekit's own evaluation, what they were made from, and stay short."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from mergekit.config import ConditionalParameter, evaluate_setting

from dogerm_plugin.recipe.filters import conditions


def evaluated(found: list[dict], name: str) -> float:
    """λ of a tensor, by mergekit."""
    setting = [ConditionalParameter(**condition) for condition in found]
    return evaluate_setting(name, setting, validate=float)


def check(values: dict[str, float]) -> list[str]:
    """Insist on a right list of needed filters, and return their texts."""
    found = conditions(values)
    assert {name: evaluated(found, name) for name in values} == values
    assert set(found[-1]) == {"value"}
    texts = [condition["filter"] for condition in found[:-1]]
    assert all(any(text in name for name in values) for text in texts)  # mergekit would not say
    assert len(found) <= len(values)
    return texts


def llama(layers: int, prefix: str = "model.") -> dict[str, tuple[str, int]]:
    """Tensor names as Llama has them → part and layer."""
    inside = {
        "self_attn.q_proj": "attention",
        "self_attn.o_proj": "attention",
        "mlp.up_proj": "mlp",
        "mlp.down_proj": "mlp",
        "input_layernorm": "norms",
        "post_attention_layernorm": "norms",
    }
    names = {
        f"{prefix}layers.{i}.{name}.weight": (part, i)
        for i in range(layers)
        for name, part in inside.items()
    }
    return {
        f"{prefix}embed_tokens.weight": ("embeddings", 0),
        f"{prefix}norm.weight": ("norms", layers - 1),
        **names,
    }


def shares(groups: dict[str, object]) -> dict[str, float]:
    """Tensor names → a λ of each group's own."""
    weights: dict[object, float] = {}
    return {name: weights.setdefault(group, len(weights) / 100) for name, group in groups.items()}


def by_layer(names: dict[str, tuple[str, int]], size: int) -> dict[str, object]:
    """Groups of `size` neighbouring layers."""
    return {name: layer // size for name, (_, layer) in names.items()}


def by_both(names: dict[str, tuple[str, int]], size: int) -> dict[str, object]:
    """Groups of `size` neighbouring layers, and of their parts."""
    return {
        name: part if part == "embeddings" else (part, layer // size)
        for name, (part, layer) in names.items()
    }


def test_parts_are_four_conditions() -> None:
    """A person would write no other list."""
    share = {"embeddings": 0.1, "attention": 0.2, "mlp": 0.3, "norms": 0.4}
    found = conditions({name: share[part] for name, (part, _) in llama(32).items()})
    assert found == [
        {"filter": ".embed_tokens.", "value": 0.1},
        {"filter": ".mlp.", "value": 0.3},
        {"filter": ".self_attn.", "value": 0.2},
        {"value": 0.4},
    ]


def test_layers_are_named_in_order_and_in_full() -> None:
    """Layer 1 is not found in layer 11, and the largest group is the rest."""
    texts = check(shares(by_layer(llama(12), 6)))
    assert texts == [*(f".layers.{layer}." for layer in range(6, 12)), ".norm."]


def test_layers_by_parts() -> None:
    """Each layer of one half has three conditions; the other half shares three."""
    texts = check(shares(by_both(llama(32), 16)))
    assert len(texts) == 16 * 3 + 4
    assert {".layers.31.mlp.", ".layers.31.self_attn.", ".layers.31.", ".mlp."} <= set(texts)


def test_one_weight_for_all() -> None:
    """No filter at all, and groups that happen to have one λ count as one."""
    assert conditions({"model.a.weight": 0.3, "model.b.weight": 0.3}) == [{"value": 0.3}]
    texts = check({name: 0.5 * (part == "mlp") for name, (part, _) in llama(4).items()})
    assert texts == [".mlp."]


def test_names_without_a_prefix() -> None:
    """A trunk saved bare, where `layers.1.` begins a name, and `norm.` is a part of many."""
    bare = llama(12, prefix="")
    assert check(shares(by_layer(bare, 6))) == [
        *(f"layers.{layer}." for layer in range(6)),
        "embed_tokens.",
    ]
    assert len(check(shares(by_both(bare, 1)))) == 12 * 3


def test_a_name_inside_another() -> None:
    """No filter matches the short name alone, so the long ones come first, in full."""
    values = {"norm.weight": 0.1, "a.norm.weight": 0.2, "b.a.norm.weight": 0.3}
    assert check(values) == ["b.a.norm.weight", "a.norm.weight"]


def test_shuffled_groups() -> None:
    """Tensors dealt out at random, as no model groups them."""
    dealer = random.Random(0)
    for groups in (2, 3, 7):
        check({name: dealer.randrange(groups) / 10 for name in llama(6)})


word = st.sampled_from(["a", "b", "ab", "ba", "norm", "a_norm", "0", "1", "11", "weight"])
names = st.lists(word, min_size=1, max_size=5).map(".".join)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(names, st.sampled_from([0.0, 0.1, 0.2, 0.3]), min_size=1, max_size=25))
def test_any_names(values: dict[str, float]) -> None:
    """Names that are parts of one another, numbers anywhere, a module that is also a tensor."""
    check(values)


def test_many_experts() -> None:
    """Thousands of experts' tensors cost no more conditions than the MLPs that they are in."""
    names = llama(24)
    for name, place in llama(24).items():
        if ".up_proj." in name:
            del names[name]
            experts = (f"experts.{e}.w{k}" for e in range(64) for k in (1, 2, 3))
            names |= {name.replace("up_proj", expert): place for expert in experts}
    assert len(check(shares(by_both(names, 12)))) == 12 * 3 + 4
