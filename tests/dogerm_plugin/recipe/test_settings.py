"""A recipe with other settings of its parameters, as a study writes one for each point."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe.settings import written

CONTENT = {
    "merge_method": "reward_preserving_linear",
    "base_model": "rm",
    "parameters": {"weight": 0.2, "allow_unrelated": True},
    "models": [
        {"model": {"model": {"path": "rm"}}, "parameters": {"weight": 0.7}},
        {"model": "lm", "parameters": {"weight": 0.1, "allow_unrelated": False}},
        {"model": "other"},
    ],
}


def test_where_settings_go() -> None:
    """To the domain models in their order; what would contradict goes, all else stays."""
    before = copy.deepcopy(CONTENT)
    conditions = [{"filter": "mlp", "value": 0.5}, {"value": 0}]
    made = written(CONTENT, {"weight": [0.3, conditions]})
    assert before == CONTENT
    assert made == {
        **CONTENT,
        "parameters": {"allow_unrelated": True},
        "models": [
            {"model": {"model": {"path": "rm"}}},
            {"model": "lm", "parameters": {"allow_unrelated": False, "weight": 0.3}},
            {"model": "other", "parameters": {"weight": conditions}},
        ],
    }


def test_nothing_to_set() -> None:
    """The recipe as it is."""
    assert written(CONTENT, {}) == CONTENT


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_the_last_one_counts(weights: list[float]) -> None:
    """Written over one another, settings are as if only the last had been written."""
    once = written(CONTENT, {"weight": weights})
    assert written(written(CONTENT, {"weight": [0.9, 0.1]}), {"weight": weights}) == once


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weigth": [0.1, 0.2]}, "unknown parameter 'weigth'; did you mean 'weight'?"),
        ({"weight": [0.1]}, "weight: 1 settings, and the recipe has 2 domain models"),
    ],
)
def test_settings_that_do_not_fit(values: dict[str, Any], words: str) -> None:
    """A misspelt name, or one too few."""
    with pytest.raises(MergeError) as caught:
        written(CONTENT, values)
    assert words in str(caught.value)


def test_no_such_method() -> None:
    """The methods that there are."""
    with pytest.raises(MergeError, match="unknown merge_method linear; known are reward_average"):
        written(CONTENT | {"merge_method": "linear"}, {})
