"""A search that chooses the merge method, too, each with parameters of its own."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.study.searching import Searching
from tests.harness.study.test_wrapped import Unasked, base, write

__all__ = ["base"]
METHODS = "linear,task_arithmetic,ties"


@pytest.fixture
def folder(tmp_path: Path, reward_model: Path, language_model: Path, base: Path) -> Searching:
    made = Unasked(tmp_path, [reward_model, language_model])
    write(made, "task_arithmetic", base)
    return made


def test_methods_beside_the_best_of_linear(folder: Searching) -> None:
    """Every trial has its method's numbers alone; best.yml merges to what was measured."""
    found = folder.searched("--methods", METHODS, "--trials", "9", "--seed", "1")
    numbers = {
        "reward_preserving_linear": {"weight"},
        "reward_preserving_task_arithmetic": {"weight"},
        "reward_preserving_ties": {"weight", "density"},
    }
    drawn: dict[str, set[str]] = {}
    for trial in found["trials"]:
        method, *names = trial["params"]
        assert method == "merge_method"
        drawn[trial["params"][method]] = set(names)
    assert len(drawn) > 1 and all(numbers[method] == names for method, names in drawn.items())
    assert found["baseline"]["label"].startswith("method=linear,")
    recipe = yaml.safe_load(found["best_recipe"])
    assert recipe["merge_method"] == found["top"][0]["params"]["merge_method"]
    scored = folder.evaluated(found["best_recipe"], "proof")
    assert scored["accuracy,none"] == found["top"][0]["report"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--methods", "ties"), "--methods ties: expected two and more, each once"),
        (("--methods", "linear,tiess"), "unknown merge_method reward_preserving_tiess; did you"),
        (("--methods", METHODS, "--low", "0.1"), "give --param METHOD.NAME=LOW:HIGH"),
        (("--methods", METHODS, "--param", "density=0:1"), "expected METHOD.NAME=LOW:HIGH with"),
        (("--methods", METHODS, "--sampler", "grid"), "--methods is of --sampler tpe and random"),
    ],
)
def test_refused(folder: Searching, options: Any, words: str) -> None:
    result = folder.search(*options)
    assert result.exit_code == 1 and words in result.output
    assert not (folder.out / "search.json").exists()


def test_a_recipe_without_a_base(folder: Searching) -> None:
    """linear's own recipe does not name it."""
    folder.write_recipe()
    result = folder.search("--methods", METHODS)
    assert result.exit_code == 1
    assert "reward_preserving_task_arithmetic needs the pretrained base, and" in result.output
