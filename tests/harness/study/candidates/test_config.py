"""What a study's file may say, and what is told of one that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.errors import HarnessError
from harness.study.candidates.config import read
from harness.study.candidates.steps import contents
from harness.study.candidates.variants import replaced, variants

GENERAL = {"model": "reward", "model_args": {"pretrained": "rm"}}
TRAINED = {"train": {"kind": "reward", "config": {"model": "base", "data": []}}}


def written(folder: Path, **changes: Any) -> Path:
    content = {
        "general": "general",
        "tasks": {"domain": ["minipref"]},
        "candidates": {"general": GENERAL},
        **changes,
    }
    path = folder / "study.yml"
    path.write_text(
        yaml.safe_dump({k: v for k, v in content.items() if v is not None}, sort_keys=False),
        "utf-8",
    )
    return path


def labels(path: Path) -> list[str]:
    study = read(path)
    return [one.label for one in variants(study, lambda one: contents(one, path.parent))]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"general": "generl"}, "did you mean general?"),
        ({"sedes": [1]}, "unknown key `sedes`: did you mean seeds?"),
        ({"tasks": None}, "`tasks` is missing"),
        ({"tasks": {}}, "at least one group"),
        ({"seeds": [1, 1]}, "give one or more different ones"),
        ({"candidates": {"general": GENERAL, "a/b": GENERAL}}, "files are named by it"),
        ({"candidates": {"general": GENERAL, "x": {}}}, "give `model` and `model_args`"),
        (
            {"candidates": {"general": GENERAL, "x": {"recipe": "a.yml", **TRAINED}}},
            "recipe and train: give one of them",
        ),
        (
            {"candidates": {"general": GENERAL, "x": {"sweep": {"recipe": "a.yml"}}}},
            "name the tasks that choose, `select`",
        ),
        (
            {"candidates": {"general": GENERAL, "x": {"train": {"kind": "router", "config": "a"}}}},
            "say how it is scored",
        ),
        (
            {"candidates": {"general": GENERAL, "x": {"train": {"kind": "dpo", "config": "a"}}}},
            "`candidates.x.train.kind`: input should be 'reward'",
        ),
        ({"candidates": {"general": {**GENERAL, "report": False}}}, "which has report: false"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(HarnessError) as error:
        read(written(tmp_path, **changes))
    assert told in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "study.yml"))
    assert "\n" not in str(error.value)


def test_what_depends_on_a_seed_is_there_for_each(tmp_path: Path) -> None:
    recipe = {"merge_method": "linear", "models": [{"model": "${trained}"}]}
    candidates = {
        "over": {"recipe": recipe},
        "general": GENERAL,
        "trained": TRAINED,
        "fixed": {"recipe": {"base_model": "${general}"}},
        "drawn": {"model": "reward", "model_args": {"pretrained": "rm", "seed": "${seed}"}},
    }
    path = written(tmp_path, seeds=[3, 5], candidates=candidates)
    assert labels(path) == [
        *("trained-seed-3", "trained-seed-5", "over-seed-3", "over-seed-5"),
        *("general", "fixed", "drawn-seed-3", "drawn-seed-5"),
    ]


def test_a_file_of_a_recipe_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "recipe.yml").write_text("base_model: ${trained}\n", "utf-8")
    candidates = {"over": {"recipe": "recipe.yml"}, "general": GENERAL, "trained": TRAINED}
    path = written(tmp_path, candidates=candidates)
    assert labels(path) == ["trained-seed-1", "over-seed-1", "general"]


def test_circles_and_unknown_names_are_refused(tmp_path: Path) -> None:
    one, other = ({"recipe": {"base_model": f"${{{name}}}"}} for name in ("other", "one"))
    path = written(tmp_path, candidates={"general": GENERAL, "one": one, "other": other})
    with pytest.raises(HarnessError, match="need one another: one -> other -> one"):
        labels(path)
    path = written(tmp_path, candidates={"general": GENERAL, "one": one})
    with pytest.raises(HarnessError, match=r"candidate one: \$\{other\} names no candidate"):
        labels(path)


def test_references_are_replaced_wherever_they_stand() -> None:
    said = {"a": ["${x}", {"b": "${x}/router.yml"}], "seed": "${seed}", "n": 1}
    by = {"x": "/there", "seed": 7}.__getitem__
    assert replaced(said, by) == {"a": ["/there", {"b": "/there/router.yml"}], "seed": 7, "n": 1}
