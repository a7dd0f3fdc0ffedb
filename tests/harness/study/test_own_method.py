"""A merge method that this project does not have, with two parameters: it is swept and searched."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from dogerm_plugin.methods.declaration import Method, Tensors, Values
from dogerm_plugin.methods.parameter import Parameter, Scope
from dogerm_plugin.methods.registry import register
from harness.show import read as report
from tests.harness.study.searching import Searching

NAME = "reward_preserving_pull"


def pulled(tensors: Tensors, values: Values) -> Any:
    """Each domain model pulls the reward model's numbers, those that differ least not at all."""
    merged = tensors.reward.clone()
    for model, weight in zip(tensors.domain, values["weight"], strict=True):
        away = model - tensors.reward
        least = away.abs().flatten().quantile(1 - values["density"])
        merged += weight * away * (away.abs() >= least)
    return merged


PULL = Method(
    name=NAME,
    title="Pull",
    reference="",
    parameters=(
        Parameter("weight", Scope.DOMAIN_MODEL, "pull", low=-1, high=2, at_rest=0, symbol="λ"),
        Parameter("density", Scope.MERGE, "share of numbers pulled", low=0, high=1, default=1.0),
    ),
    formula=pulled,
)


@pytest.fixture
def folder(tmp_path: Path, reward_model: Path, language_model: Path) -> Iterator[Searching]:
    from mergekit.merge_methods import registry

    register(PULL)
    made = Searching(tmp_path, [reward_model, language_model])
    made.write_recipe(merge_method=NAME)
    yield made
    del registry._METHODS[NAME]


GRID = "--weight", "-0.5,0.5,1.5", "--grid", "density=0.25,1"


def test_a_sweep_tries_all_combinations(folder: Searching) -> None:
    """Below the bounds of shares and above; the reward model is one point, whatever the density."""
    found = folder.swept(*GRID)
    assert [point["label"] for point in found["points"]] == [
        "0",
        "-0.5,density=0.25",
        "-0.5,density=1",
        "0.5,density=0.25",
        "0.5,density=1",
        "1.5,density=0.25",
        "1.5,density=1",
    ]
    assert found["points"][3]["params"] == {"weight": [0.5], "density": 0.25}
    assert len({point["score"] for point in found["points"]}) > 2
    assert (folder.out / "lambda.png").stat().st_size
    assert report.read(folder.out).kind == "sweep"
    before = folder.measured()
    again = folder.sweep(*GRID[:2], "--param", "density=0.25,0.5")
    assert again.exit_code == 0, again.output
    after = folder.measured()
    kept = [place for place in before if "=1/" not in place]
    assert {place: after[place] for place in kept} == {place: before[place] for place in kept}


def test_best_yml_merges_to_the_measured_reward(folder: Searching) -> None:
    """mergekit writes it, and lm_eval's own evaluation gives the score, row by row."""
    found = folder.swept(*GRID)
    text = (folder.out / "best.yml").read_text("utf-8")
    chosen = found["points"][found["chosen"]]
    assert yaml.safe_load(text)["parameters"] == {"density": chosen["params"]["density"]}
    scored = folder.evaluated(text, "chosen")
    assert scored["accuracy,none"] == chosen["score"]


def test_a_search_tries_every_parameter_that_has_bounds(folder: Searching) -> None:
    """Within those that are typed, and for each group of tensors that a parameter may tell."""
    more = "--groups", "layers:2", "--param", "density=0.4:0.6", "--low", "0.1", "--high", "1.9"
    found = folder.searched("--trials", "4", *more)
    for trial in found["trials"]:
        assert list(trial["params"]) == [
            "layers-1-of-2",
            "layers-2-of-2",
            "layers-1-of-2/density",
            "layers-2-of-2/density",
        ]
        assert all(0.1 <= trial["params"][f"layers-{n}-of-2"] <= 1.9 for n in (1, 2))
        assert all(0.4 <= trial["params"][f"layers-{n}-of-2/density"] <= 0.6 for n in (1, 2))
    scored = folder.evaluated(found["best_recipe"], "proof")
    assert scored["accuracy,none"] == found["top"][0]["report"]


def test_a_changed_formula_is_measured_anew(
    folder: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own file is a part of what a result was made with, as this project's are."""
    from mergekit.merge_methods import registry

    file = folder.folder / "my_rule.py"
    monkeypatch.syspath_prepend(str(folder.folder))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    scores = []
    for factor in ("0", "1"):
        file.write_text(
            "def rule(tensors, values):\n"
            "    away = tensors.domain[0] - tensors.reward\n"
            f"    return tensors.reward + {factor} * values['weight'][0] * away\n"
        )
        monkeypatch.delitem(sys.modules, "my_rule", raising=False)
        del registry._METHODS[NAME]
        register(replace(PULL, formula=importlib.import_module("my_rule").rule))
        scores.append([point["score"] for point in folder.swept("--weight", "1")["points"]])
    assert scores[0][0] == scores[0][1] == scores[1][0] != scores[1][1]


def test_what_no_point_varies_is_in_what_a_result_was_made_with(folder: Searching) -> None:
    """λ where only the density is varied: it stands in no label."""
    from harness.commands.cli import main

    arguments = folder.arguments("--grid", "density=1")
    place = arguments.index("--weight")
    del arguments[place : place + 2]
    scores = []
    for weight in (0.0, 1.0):
        recipe = yaml.safe_load((folder.folder / "recipe.yml").read_text("utf-8"))
        recipe["models"][0]["parameters"]["weight"] = weight
        folder.write_recipe(merge_method=NAME, models=recipe["models"])
        result = folder.invoke(main, arguments)
        assert result.exit_code == 0, result.output
        scores.append([point["score"] for point in folder.content()["points"]])
    assert scores[0][0] == scores[0][1] == scores[1][0] != scores[1][1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--grid", "density=0.5,1.5"), "--grid density=0.5,1.5: 1.5 is not in 0..1: it is the"),
        (("--grid", "dense=0.5"), f"--grid dense: {NAME} has no parameter 'dense' to vary"),
        (
            ("--grid", "weight=0.5", "--weight", "1"),
            "--grid weight: --weight is that, too: give one",
        ),
        (("--grid", "density"), "--grid density: expected NAME=VALUES, as in density=0.2:0.8"),
        (("--param", "density=0.1", "--param", "density=0.2"), "of the whole merge, give it once"),
        (("--weight", "0:3:1"), "--weight 0:3:1: 3 is not in -1..2: it is λ, a domain model's"),
    ],
)
def test_a_mistake_is_told_by_what_the_method_declares(
    folder: Searching, options: tuple[str, ...], said: str
) -> None:
    result = folder.sweep(*options)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert not folder.out.exists()
