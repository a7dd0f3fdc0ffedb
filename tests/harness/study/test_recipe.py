"""A recipe with other weights, and recipes that a sweep can't have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click import ClickException

from harness.errors import HarnessError
from harness.study import recipe_file
from harness.study.output import recipe_text
from harness.study.recipe import Point, StudyRecipe

RECIPE: dict[str, Any] = {
    "merge_method": "reward_preserving_linear",
    "base_model": "org/rm",
    "models": [
        {"model": "org/rm", "parameters": {"weight": 0.7}},
        {"model": "org/maths", "parameters": {"weight": 0.2}},
        {"model": "org/code"},
    ],
    "parameters": {"weight": 0.1},
    "dtype": "bfloat16",
}


def read(folder: Path, content: object) -> StudyRecipe:
    path = folder / "recipe.yml"
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path.write_text(text, "utf-8")
    return recipe_file.read(path)


def point(recipe: StudyRecipe, *weights: float) -> Point:
    return recipe.point({"weight": list(weights)})


def test_each_domain_model_gets_its_weight_and_nothing_contradicts_it(tmp_path: Path) -> None:
    """The reward model's own weight and the one for all models are gone, the rest stays."""
    recipe = read(tmp_path, RECIPE)
    assert recipe.reward_model == "org/rm"
    assert recipe.domain_models == ("org/maths", "org/code")
    assert recipe.at(point(recipe, 0.25, 0.5)) == {
        "merge_method": "reward_preserving_linear",
        "base_model": "org/rm",
        "models": [
            {"model": "org/rm"},
            {"model": "org/maths", "parameters": {"weight": 0.25}},
            {"model": "org/code", "parameters": {"weight": 0.5}},
        ],
        "dtype": "bfloat16",
    }
    assert recipe.configuration(point(recipe, 0.25, 0.5)).models[1].parameters["weight"] == 0.25


def test_a_model_may_be_written_as_mergekit_writes_it(tmp_path: Path) -> None:
    spelt = {"model": {"path": "org/maths"}, "lora": {"path": "org/adapter"}}
    recipe = read(tmp_path, {**RECIPE, "models": [{"model": spelt}]})
    assert recipe.domain_models == ("org/maths+org/adapter",)


def test_what_is_written_is_read_as_the_same_recipe(tmp_path: Path) -> None:
    """Whatever is said above it: a comment can't become a key, and names stay on one line."""
    name = "models of mine/" + "a long name " * 12 + "ü"
    recipe = read(tmp_path, {**RECIPE, "models": [{"model": name}]})
    header = ["λ = 0.35", "by: dogerm sweep 'a\nmerge_method: linear\n' \x07\udc80\u2028x", ""]
    text = recipe_text(recipe, point(recipe, 0.35), header)
    assert yaml.safe_load(text) == recipe.at(point(recipe, 0.35))
    assert text.startswith("# λ = 0.35\n# by: dogerm sweep 'a merge_method: linear ' ?? x\n# \n")
    assert f"- model: {name}\n" in text
    text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**RECIPE, "merge_method": "linear"}, "merge_method is linear, expected reward_preserv"),
        ({**RECIPE, "merge_method": "reward_preserving_liner"}, "unknown merge_method"),
        ({**RECIPE, "slices": [{"sources": []}]}, "has slices; a sweep sets one weight"),
        ({**RECIPE, "modules": {"a": {}}}, "has modules"),
        ({**RECIPE, "parameters": {"weight": [0, 1]}}, "the weight of all models is a list"),
        (
            {**RECIPE, "models": [{"model": "a", "parameters": {"weight": [0, 1]}}]},
            "the weight of a is a list, which a sweep would replace",
        ),
        ({**RECIPE, "models": [{"model": "org/rm"}]}, "names no model besides the reward model"),
        ({**RECIPE, "models": ["a"]}, "models.0"),
        ({**RECIPE, "models": [{"model": {"pth": "a"}}]}, "Field required"),
        ({**RECIPE, "models": [{"model": "a", "parameters": 1}]}, "a valid dictionary (found 1)"),
        ({**RECIPE, "modls": []}, "unknown key 'modls'; did you mean 'models'?"),
        ({"a": 1}, "not a recipe: expected keys such as merge_method"),
        ("", "not a recipe"),
        ("[", "not one YAML document"),
        ("a: 2001-99-99", "not one YAML document: month must be in 1..12"),
        ("a: 1\n---\nb: 1\n", "not one YAML document"),
    ],
)
def test_a_recipe_that_can_not_be_swept_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises((HarnessError, ClickException)) as error:
        read(tmp_path, content)
    assert message in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarnessError, match="can't be read as a YAML recipe"):
        recipe_file.read(tmp_path / "recipe.yml")
