"""Each way to compute attention in a pack gives the rewards of single rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from harness.errors import HarnessError
from harness.models.score import tree_kernels
from harness.models.score.packed_attention import attention_within, choices
from harness.models.score.tree import Pack, common_beginning, parts
from harness.models.score.tree_attention import Call
from tests.harness.models.score.test_scorer import alone, build, scorer
from tests.harness.models.score.test_sharing import BEGUN, GROUPS, flat
from tests.harness.models.test_reward import reward, rewards, some_pairs

# Grouped heads; positions that are learned; experts; values of another size than keys.
KINDS = ["llama", "gpt2", "mixtral", "deepseek_v3"]

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def plainly(query: Any, key: Any, value: Any, scale: float | None) -> Any:
    """Plain causal attention of [tokens, heads, size], the queries the last of the keys."""
    query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    queries, keys = query.shape[1], key.shape[1]
    sees = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    options = {"attn_mask": sees, "scale": scale, "enable_gqa": True}
    return functional.scaled_dot_product_attention(query, key, value, **options).transpose(0, 1)


def by_ends(query: Any, key: Any, value: Any, ends: Any, key_ends: Any, scale: Any) -> Any:
    """The same of several sequences, by where each one ends."""
    assert ends.dtype == key_ends.dtype == torch.int32  # no kernel takes others
    assert query.shape[-1] == key.shape[-1] == value.shape[-1]
    assert (len(query), len(key)) == (ends[-1], key_ends[-1])
    outputs = [
        plainly(query[a:b], key[c:d], value[c:d], scale)
        for a, b, c, d in zip(
            ends[:-1].tolist(),
            ends[1:].tolist(),
            key_ends[:-1].tolist(),
            key_ends[1:].tolist(),
            strict=True,
        )
    ]
    return torch.cat(outputs)


@pytest.fixture
def varlen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """torch's kernel computed plainly: it has no code for CPUs. How many sequences it was given."""
    given: list[int] = []

    def plain(
        query: Any,
        key: Any,
        value: Any,
        cu_seq_q: Any,
        cu_seq_k: Any,
        max_q: int,
        max_k: int,
        *,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Any:
        assert window_size == (-1, 0), "causal"
        assert enable_gqa is (query.shape[1] != key.shape[1])
        assert max_q == cu_seq_q.diff().max() and max_k == cu_seq_k.diff().max()
        given.append(len(cu_seq_q) - 1)
        return by_ends(query, key, value, cu_seq_q, cu_seq_k, scale)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain)
    tree_kernels._varlen.cache_clear()
    yield given
    tree_kernels._varlen.cache_clear()


@pytest.mark.parametrize("groups", [GROUPS, BEGUN], ids=["trees", "trees that begin alike"])
@pytest.mark.parametrize("kind", KINDS)
def test_flex_attention(kind: str, groups: Any) -> None:
    model = build(kind)
    expected = [alone(model, ids) for ids in flat(groups)]
    score = scorer(model, kernel="flex")
    assert score.sharing.kernel == "flex"
    assert flat(score.sharing(groups)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("groups", [GROUPS, BEGUN], ids=["trees", "trees that begin alike"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_call_for_sequences_of_unlike_lengths(
    kind: str, groups: Any, varlen: list[int]
) -> None:
    model = build(kind)
    expected = [alone(model, ids) for ids in flat(groups)]
    score = scorer(model, kernel="varlen")
    varlen.clear()
    assert flat(score.sharing(groups)) == pytest.approx(expected, abs=1e-5)
    assert len(varlen) == model.config.num_hidden_layers, "one call a layer"


def test_torch_takes_the_call() -> None:
    """Of its kernel's arguments everything is checked here but the numbers: nothing is computed."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    module = torch.nn.Identity()
    tree_kernels._varlen.cache_clear()
    with FakeTensorMode():
        query, key, value = (
            torch.empty(1, heads, 5, size, dtype=torch.bfloat16)
            for heads, size in ((4, 16), (2, 16), (2, 8))
        )
        call = Call(lambda: None, module, {"scaling": 0.5}, False, True)
        kernel = tree_kernels.Varlen(Pack.of([[[1, 2, 3], [1, 2, 4, 5]]]).trees)
        output = kernel(call, query, key, value)
    assert output.shape == (1, 5, 4, 8) and output.dtype == torch.bfloat16


@pytest.mark.parametrize("kernel", ["varlen", "flex"])
def test_scores_that_a_model_changes_are_not_left_as_they_are(kernel: str, varlen: Any) -> None:
    """Gemma 2's soft cap, in the function that knows it."""
    model = build("gemma2", sliding_window=64)
    model.set_attn_implementation("eager")
    assert scorer(model).shares_prefixes
    with pytest.raises(HarnessError, match=f"share_prefix={kernel}: Gemma2.*ValueError"):
        scorer(model, kernel=kernel)


def test_what_is_tried() -> None:
    """On CPUs a call costs nothing."""
    assert choices("sdpa", CPU) == choices("eager", CPU) == ("parts",)
    assert choices("sdpa", CUDA) == choices("flash_attention_3", CUDA) == ("varlen", "parts")
    assert choices("eager", CUDA) == ("parts",), "who asks for that one gets it"
    assert choices("flex_attention", CPU) == choices("flex_attention", CUDA) == ("flex",)


def test_a_kernel_that_is_not_there_is_refused(reward_model: Path) -> None:
    """torch's has no code for CPUs; its long message is no line."""
    with pytest.raises(HarnessError, match=r"share_prefix=varlen: .*NotImplementedError") as told:
        reward(reward_model, share_prefix="varlen")
    assert "\n" not in str(told.value)


def test_a_model_that_cannot_have_it_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"share_prefix=flex: BloomFor.*can't be scored"):
        scorer(build("bloom"), kernel="flex")


def test_a_kernel_by_name(reward_model: Path) -> None:
    pairs = some_pairs()
    flex, parts = reward(reward_model, share_prefix="flex"), reward(reward_model)
    assert rewards(flex, pairs) == pytest.approx(rewards(parts, pairs), abs=1e-5)
    assert flex.get_model_info()["model_pack_attention"] == "flex"
    assert parts.get_model_info()["model_pack_attention"] == "parts"
    alone = reward(reward_model, share_prefix=False)
    assert alone.get_model_info()["model_pack_attention"] is None


class Flash:
    """flash-attn's two functions computed plainly; transformers' own code calls them."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def one(
        self,
        q: Any,
        k: Any,
        v: Any,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Any:
        assert causal and window_size == (-1, -1)
        self.calls.append("one")
        rows = zip(q, k, v, strict=True)
        return torch.stack([plainly(*row, softmax_scale) for row in rows])

    def varlen(
        self,
        q: Any,
        k: Any,
        v: Any,
        cu_seqlens_q: Any = None,
        cu_seqlens_k: Any = None,
        max_seqlen_q: int = 0,
        max_seqlen_k: int = 0,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Any:
        assert causal and window_size == (-1, -1)
        assert max_seqlen_q == cu_seqlens_q.diff().max()
        self.calls.append("varlen")
        return by_ends(q, k, v, cu_seqlens_q, cu_seqlens_k, softmax_scale)


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch) -> Flash:
    from transformers import modeling_flash_attention_utils as utils

    made = Flash()
    process = utils._lazy_define_process_function(made.varlen)
    functions = (made.one, made.varlen, None, None, None), (process, dict)
    monkeypatch.setattr(utils, "lazy_import_flash_attention", lambda *_, **__: functions)
    return made


def with_flash(kind: str, name: str = "flash_attention_2") -> Any:
    model = build(kind)
    model.config._attn_implementation_internal = name  # its checks ask for a GPU
    return model


@pytest.mark.parametrize("kernel", ["parts", "varlen"])
@pytest.mark.parametrize("kind", ["llama", "mixtral", "deepseek_v3"])
def test_packs_where_flash_attention_is_asked_for(kind: str, kernel: str, flash: Flash) -> None:
    """Part by part, or all parts in one call of flash's own function for such sequences."""
    groups = BEGUN
    expected = [alone(build(kind), ids) for ids in flat(groups)]
    score = scorer(with_flash(kind), kernel=kernel)
    flash.calls.clear()
    assert flat(score.sharing(groups)) == pytest.approx(expected, abs=1e-5)
    layers = score.model.config.num_hidden_layers
    if kernel == "varlen":
        assert flash.calls == ["varlen"] * layers
    else:
        trees = Pack.of(groups, common_beginning(flat(groups))).trees
        assert flash.calls == ["one"] * layers * len(list(parts(trees)))


def test_flash_attention_by_its_other_names(flash: Flash) -> None:
    """Version 3 and 4; nothing is asked for but what the model names."""
    for name in ("flash_attention_3", "flash_attention_4"):
        score = scorer(with_flash("llama", name))
        assert score.shares_prefixes and score.sharing.kernel == "parts"


def test_a_function_of_a_users_own_under_a_name_of_flash() -> None:
    """As a kernel of the Hub is registered; it comes back, and gets no word of the pack."""
    from transformers import AttentionInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    asked: list[Any] = []

    def own(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        asked.append((mask, options.get("position_ids"), query.shape[2], key.shape[2]))
        return query.transpose(1, 2), None

    name = "kernels-somebody/flash-attn"
    AttentionInterface.register(name, own)
    try:
        states = torch.randn(1, 2, 5, 4)
        with attention_within(Pack.of([[[1, 2, 3], [1, 2, 4, 5]]]).trees):
            attend = ALL_ATTENTION_FUNCTIONS[name]
            options = {"position_ids": torch.arange(5)[None]}
            attend(torch.nn.Identity(), states, states, states, torch.zeros(1), **options)
        assert ALL_ATTENTION_FUNCTIONS[name] is own
    finally:
        del AttentionInterface._global_mapping[name]
    assert asked == [(None, None, 2, 2), (None, None, 1, 3), (None, None, 2, 4)]
