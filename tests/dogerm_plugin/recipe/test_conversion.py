"""A recipe's models by another method: what stays, what is another thing of the same name."""

from typing import Any

import pytest

from dogerm_plugin.errors import MergeError
from dogerm_plugin.recipe.conversion import by_method

PREFIX = "reward_preserving_"
TIES = {
    "merge_method": f"{PREFIX}ties",
    "base_model": "base",
    "models": [{"model": "rm", "parameters": {"reward": True}}, {"model": "lm"}],
    "parameters": {"weight": 0.5, "density": 0.3, "normalize": True, "allow_unrelated": True},
    "tokenizer": {"source": "base"},
}


def parameters(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [one.get("parameters", {}) for one in made["models"]]


def test_what_stands_above_the_models_goes_with_each() -> None:
    """As it holds for each of them."""
    made = by_method(TIES, f"{PREFIX}dare_ties")
    own = {"weight": 0.5, "density": 0.3, "allow_unrelated": True}
    assert parameters(made) == [own | {"reward": True}, own]
    assert made["parameters"] == {"normalize": True} and made["base_model"] == "base"


def test_to_linear_and_to_two_models() -> None:
    """base_model is the reward model; a weight that is a share is not a factor."""
    made = by_method(TIES, f"{PREFIX}linear")
    assert made["base_model"] == "rm" and [one["model"] for one in made["models"]] == ["lm"]
    assert parameters(made)[0]["weight"] != 0.5 and "parameters" not in made
    made = by_method(TIES, f"{PREFIX}slerp")
    assert (made["base_model"], made["parameters"]) == ("rm", {"t": 0.3})


def test_one_name_and_two_meanings() -> None:
    """DELLA's epsilon is a spread, RAM's a threshold."""
    content = TIES | {"merge_method": f"{PREFIX}della", "parameters": {"epsilon": 0.15}}
    assert "parameters" not in by_method(content, f"{PREFIX}ram")
    assert parameters(by_method(content, f"{PREFIX}della_linear"))[1]["epsilon"] == 0.15


def test_a_base_that_is_not_there() -> None:
    """linear's recipe does not name it."""
    content = {"merge_method": f"{PREFIX}linear", "base_model": "rm", "models": [{"model": "lm"}]}
    with pytest.raises(MergeError, match="ties needs the pretrained base"):
        by_method(content, f"{PREFIX}ties")
