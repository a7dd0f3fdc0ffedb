"""A router file's recipes: what they are told apart by, and how they are seen from elsewhere."""

from __future__ import annotations

import importlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import merging
import pytest
import yaml
from mergekit.merge_methods import registry as host
from merging import Trio

from dogerm_plugin.errors import MergeError
from dogerm_plugin.methods import registry
from dogerm_plugin.methods.reward_preserving_linear import METHOD
from dogerm_plugin.recipe.router import ExpertRecipe, is_router, recipes

EXPERTS = {"general": "rm/", "math": "recipes/math.yml", "code": {}}


@pytest.fixture
def folder(trio: Trio, tmp_path: Path) -> Path:
    """Three models, a recipe file in a folder below, and its text in place."""
    for path in trio:
        shutil.copytree(path, tmp_path / "set" / path.name)
    (tmp_path / "set" / "recipes").mkdir()
    content = merging.recipe(Path("../rm"), (Path("../lm"), 0.3))
    (tmp_path / "set" / "recipes" / "math.yml").write_text(yaml.safe_dump(content))
    return tmp_path / "set"


def found(folder: Path, weight: float = 0.3) -> dict:
    code = merging.recipe(Path("rm"), (Path("lm"), weight))
    return recipes({**EXPERTS, "code": code}, "router.yml", folder)


def test_paths_are_those_of_the_file_that_has_them(folder: Path, tmp_path: Path) -> None:
    """And lead to the same folders from another one."""
    both = found(folder)
    assert list(both) == ["math", "code"]
    for recipe in both.values():
        assert Path(recipe.content["base_model"]).samefile(folder / "rm")
    (tmp_path / "out").mkdir()
    assert (tmp_path / "out" / str(both["math"].seen_from(tmp_path / "out"))).samefile(
        folder / "recipes" / "math.yml"
    )
    moved = both["code"].seen_from(tmp_path / "out")
    assert isinstance(moved, dict) and moved["base_model"] == "../set/rm"
    again = recipes({"code": moved}, "router.yml", tmp_path / "out")
    assert again["code"].digest == both["code"].digest


def test_a_digest_is_of_the_recipe_and_the_model_files(folder: Path, tmp_path: Path) -> None:
    """Not of where they lie."""
    both = found(folder)
    assert both["math"].digest == both["code"].digest
    assert found(folder, 0.4)["code"].digest != both["code"].digest
    folder.rename(tmp_path / "elsewhere")
    assert found(tmp_path / "elsewhere")["code"].digest == both["code"].digest
    other = tmp_path / "elsewhere" / "other" / "model.safetensors"
    shutil.copy(other, tmp_path / "elsewhere" / "lm")
    assert found(tmp_path / "elsewhere")["code"].digest != both["code"].digest


def test_what_is_a_router_file() -> None:
    assert is_router({"experts": {"a": "b"}, "router": "c"})
    mixture = {"base_model": "a", "experts": [{"source_model": "b"}]}
    for other in (mixture, {"merge_method": "linear", "experts": {}}, [], None, "experts"):
        assert not is_router(other)


@pytest.mark.parametrize(
    ("expert", "words"),
    [
        ("nowhere.yaml", "router.yml: the expert law: nowhere.yaml: there is no such recipe file"),
        ({"merge_method": "linear"}, "merge_method linear is mergekit's own and loses the reward"),
        ({"merge_method": "reward_preserving_linaer"}, "did you mean 'reward_preserving_linear'"),
        ({"models": []}, "router.yml: the expert law: not a recipe: expected keys such as"),
    ],
)
def test_mistakes_name_the_expert(expert: object, words: str, folder: Path) -> None:
    with pytest.raises(MergeError) as told:
        recipes({"law": expert}, "router.yml", folder)
    assert words in str(told.value) and "\n" not in str(told.value)


def test_a_digest_is_of_a_rule_of_the_users_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is a part of what a merge is made of; others' calibrations would be taken for it."""
    content = {"merge_method": "reward_preserving_mine", "base_model": "rm", "models": []}
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    seen = []
    for factor in (1, 2, 2):
        (tmp_path / "mine.py").write_text(f"def rule(tensors, values): return {factor}\n")
        monkeypatch.delitem(sys.modules, "mine", raising=False)
        rule = importlib.import_module("mine").rule
        method = replace(METHOD, name=content["merge_method"], formula=rule)
        host._METHODS.pop(method.name, None)
        registry.register(method)
        expert = ExpertRecipe("mine", folder / "router.yml", yaml.safe_dump(content), True)
        seen.append(expert.digest)
    del host._METHODS[method.name]
    assert seen[0] != seen[1] == seen[2]
