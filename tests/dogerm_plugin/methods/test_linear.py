"""The formula on tensors."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.linear import CHUNK, all_finite, check_weights, keep_common_rows, linear


def test_worked_example() -> None:
    """0.25·[0, 4] + 0.75·[2, 8] by hand."""
    out = linear(torch.tensor([2.0, 8.0]), [torch.tensor([0.0, 4.0])], [0.25])
    assert out.tolist() == [1.5, 7.0]


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 4), (CHUNK + 1,), (0,), (4, 0)])
def test_every_shape(shape: tuple[int, ...]) -> None:
    """Scalars, empty tensors and tensors longer than one chunk."""
    torch.manual_seed(0)
    reward, other = torch.randn(shape), torch.randn(shape)
    out = linear(reward, [other], [0.3])
    assert out.shape == shape and torch.equal(out, 0.3 * other + 0.7 * reward)


def test_strides() -> None:
    """Transposed inputs give the transposed result."""
    reward, other = torch.randn(4, 6).T, torch.randn(6, 4)
    assert torch.equal(linear(reward, [other], [0.3]), 0.3 * other + 0.7 * reward)


def test_inputs_are_not_changed() -> None:
    """mergekit lends its tensors."""
    reward, other = torch.ones(3), torch.zeros(3)
    linear(reward, [other], [0.5])
    assert reward.tolist() == [1, 1, 1] and other.tolist() == [0, 0, 0]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
@settings(deadline=None, max_examples=60)
def test_one_rounding_within_half_a_unit(weights: list[float], dtype: torch.dtype) -> None:
    """Against float64: off by no more than the one rounding to the output's dtype."""
    total = sum(weights)
    weights = [weight / max(total, 1) for weight in weights]
    torch.manual_seed(1)
    tensors = [torch.randn(64).to(dtype) for _ in range(len(weights) + 1)]
    out = linear(tensors[0], tensors[1:], weights)
    exact = (1 - sum(weights)) * tensors[0].double()
    for tensor, weight in zip(tensors[1:], weights, strict=True):
        exact += weight * tensor.double()
    assert out.dtype == dtype
    unit = torch.finfo(dtype).eps / 2 * exact.abs()
    # the float32 (float64) arithmetic before the rounding
    work = 8 * torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    assert ((out.double() - exact).abs() <= unit + work * max(1.0, exact.abs().max())).all()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_ends_are_the_inputs(weight: float) -> None:
    """λ = 0 is the reward model, λ = 1 the domain model, to the bit."""
    reward, other = torch.randn(50), torch.randn(50)
    assert torch.equal(linear(reward, [other], [weight]), other if weight else reward)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([float("nan")], "not in 0..1"),
        ([-0.1], "not in 0..1"),
        ([1.5], "not in 0..1"),
        ([float("inf")], "not in 0..1"),
        ([0.6, 0.6], "sum to 1.2, more than 1"),
    ],
)
def test_weights_that_are_no_shares(weights: list[float], words: str) -> None:
    """Refused whoever calls."""
    with pytest.raises(MergeError, match=re.escape(words)):
        check_weights(weights)
    with pytest.raises(MergeError, match=re.escape(words)):
        linear(torch.ones(2), [torch.ones(2)] * len(weights), weights)


def test_decimal_weights_may_miss_one_in_the_last_place() -> None:
    """0.1 + 0.2 + 0.7 is 0.9999999999999999, and three tenths and seven tenths are whole."""
    check_weights([0.1] * 10)
    check_weights([0.1, 0.2], own=0.7)
    with pytest.raises(MergeError, match=re.escape("expected 1 − Σλ = 0.7")):
        check_weights([0.1, 0.2], own=0.71)
    with pytest.raises(MergeError):
        check_weights([0.1], own=float("nan"))


def test_not_finite_inputs_are_named() -> None:
    """NaN or Inf in an input, the reward model's or another's, even with λ = 0."""
    bad = torch.tensor([1.0, float("nan")])
    with pytest.raises(MergeError, match=re.escape("rm: NaN or Inf in tensor body.weight")):
        linear(bad, [torch.ones(2)], [0.3], name="body.weight", models=["rm", "lm"])
    with pytest.raises(MergeError, match=re.escape("lm: NaN or Inf in tensor body.weight")):
        linear(torch.ones(2), [bad.sub(3).log()], [0.0], name="body.weight", models=["rm", "lm"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 17, 40_000])
def test_one_bad_element_anywhere(dtype: torch.dtype, size: int) -> None:
    """Whatever the place, the neighbours and the strides."""
    for bad in (float("nan"), float("inf"), -float("inf")):
        for place in {0, size // 3, size - 1}:
            plain, strided = torch.randn(size).to(dtype), torch.randn(3, size).to(dtype).T
            assert all_finite(plain) and all_finite(strided)
            plain[place] = strided[place, 1] = bad
            assert not all_finite(plain) and not all_finite(strided)


def test_float8_is_checked() -> None:
    good = torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn)
    assert all_finite(good)
    assert not all_finite(torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn))


def test_overflow_of_the_output_dtype() -> None:
    """1e5 fits bfloat16 and not float16."""
    big = torch.full((2,), 1e5)
    with pytest.raises(
        MergeError, match=re.escape("does not fit torch.float16: set `out_dtype: bfloat16`")
    ):
        linear(big, [big], [0.5], dtype=torch.float16)
    assert linear(big, [big], [0.5], dtype=torch.bfloat16).isfinite().all()


def test_common_rows_are_copied() -> None:
    """Rows on which all agree stay to the bit; the others are left as merged."""
    torch.manual_seed(0)
    reward, other = torch.randn(400, 16), torch.randn(400, 16)
    other[::2] = reward[::2]
    merged = linear(reward, [other], [0.3])
    assert not torch.equal(merged[::2], reward[::2])  # 0.3·r + 0.7·r rounds
    kept = keep_common_rows(merged.clone(), reward, [other])
    assert torch.equal(kept[::2], reward[::2]) and torch.equal(kept[1::2], merged[1::2])
