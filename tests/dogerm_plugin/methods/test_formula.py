"""A formula on one tensor: exact, reproducible, checked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from own_methods import DROPPED, SCALED

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods.declaration import Tensors
from dogerm_plugin.methods.formula import merged


def tensors(dtype: torch.dtype = torch.float32) -> Tensors:
    """Two models' tensor."""
    torch.manual_seed(0)
    reward, domain = torch.randn(2, 8, 4).to(dtype)
    return Tensors("a.weight", reward, [domain], ["rm", "lm"], dtype)


def test_computed_in_float32_and_rounded_once() -> None:
    """bfloat16 arithmetic would round three times."""
    given = tensors(torch.bfloat16)
    reward, domain = given.reward.float(), given.domain[0].float()
    found = merged(SCALED, given, {"weight": [0.3], "scale": 0.7})
    assert torch.equal(found, (reward + 0.7 * (0.3 * (domain - reward))).bfloat16())
    double = replace(given, domain=[given.domain[0].double()], dtype=torch.float64)
    assert merged(SCALED, double, {"weight": [0.3], "scale": 0.7}).dtype == torch.float64


def test_numbers_are_the_tensors_own() -> None:
    """Whatever is drawn beside, before, or in another thread."""
    values: dict[str, Any] = {"density": 0.5, "seed": 3, "plain": False}
    given = tensors()
    expected = merged(DROPPED, given, values)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: merged(DROPPED, given, values), range(16)))
    assert all(torch.equal(one, expected) for one in found)
    other = merged(DROPPED, replace(given, name="b.weight"), values)
    assert not torch.equal(other, expected)


def test_rows_on_which_models_agree_stay() -> None:
    """Of a vocabulary, to the bit, where the formula would round."""
    given = tensors()
    given.domain[0][2] = given.reward[2]
    twice = replace(SCALED, formula=lambda t, _: 3 * (t.reward / 3) + 1)
    found = merged(twice, given, {"weight": [1], "scale": 1}, is_vocabulary=True)
    assert torch.equal(found[2], given.reward[2]) and not torch.equal(found[1], given.reward[1])


@pytest.mark.parametrize(
    ("given", "formula", "words"),
    [
        (tensors(), lambda t, _: t.reward[0], "made a tensor of shape [4] of tensors of shape [8"),
        (tensors(torch.float16), lambda t, _: t.reward + 1e6, "does not fit torch.float16: set"),
        (
            replace(tensors(), domain=[torch.full((8, 4), torch.nan)]),
            SCALED.formula,
            "lm: NaN or Inf in tensor a.weight",
        ),
    ],
    ids=["shape", "dtype", "damage"],
)  # fmt: skip
def test_results_that_are_none(given: Tensors, formula: Any, words: str) -> None:
    """Named by tensor, and by the model that is damaged."""
    with pytest.raises(MergeError) as caught:
        merged(replace(SCALED, formula=formula), given, {"weight": [1], "scale": 1})
    assert words in str(caught.value)


def test_values_are_checked_for_programs_too() -> None:
    """mergekit's methods may be called without a recipe."""
    with pytest.raises(MergeError, match=r"a\.weight: scale 9 is not in 0\.\.4"):
        merged(SCALED, tensors(), {"weight": [1], "scale": 9})
