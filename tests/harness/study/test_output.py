"""best.yml of a finished sweep: ready for the next command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm
from tests.harness.study.sweeping import Workshop


@pytest.fixture
def workshop(
    tmp_path: Path, reward_model: Path, language_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Workshop:
    """Models that the recipe names from the current folder."""
    for name, model in (("rm", reward_model), ("maths", language_model)):
        (tmp_path / name).symlink_to(model)
    monkeypatch.chdir(tmp_path)
    found = Workshop(tmp_path, [Path("rm"), Path("maths")])
    found.out = Path("out")
    return found


def test_best_yml_is_the_recipe_with_the_weight_and_says_where_it_is_from(
    workshop: Workshop,
) -> None:
    found = workshop.swept()
    text = (workshop.out / "best.yml").read_text("utf-8")
    assert text == found["best_recipe"]
    (weight,) = found["points"][found["chosen"]]["weights"]
    assert yaml.safe_load(text) == {
        "merge_method": "reward_preserving_linear",
        "base_model": "rm",
        "models": [{"model": "maths", "parameters": {"weight": weight}}],
    }
    point = found["points"][found["chosen"]]
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert comments[0] == (
        f"# λ = {point['label']}: accuracy {point['score']:.3f} ± {point['stderr']:.3f} on 12 rows "
        "of chosen, rule: best, 3 weights tried."
    )
    assert comments[1].startswith(f"# Chosen {found['made']['date'][:10]} by: dogerm")
    assert "its own text, comments and all, is in sweep.json" in comments[2]
    assert comments[3].endswith("mergekit-yaml out/best.yml merged/")
    recipe = workshop.folder / "recipe.yml"
    assert found["recipe"] == {"path": str(recipe), "text": recipe.read_text("utf-8")}


@pytest.mark.slow
def test_best_yml_merges_to_a_model_with_the_score_in_sweep_json(workshop: Workshop) -> None:
    """Both commands as a user types them, each in a process; reward by reward."""
    weights = ("--weight", "0:1:0.125")
    found = workshop.swept(*weights)
    label = found["points"][found["chosen"]]["label"]
    assert label != "0"
    run("mergekit-yaml", "out/best.yml", "merged", "--quiet")
    tasks = "chosen.yaml,proof.yaml"
    model = ("--model", "reward", "--model_args", "pretrained=merged", "--batch_size", "8")
    run("lm_eval", *model, "--tasks", tasks, "--log_samples", "--output_path", "evaluated")
    (results,) = Path("evaluated").rglob("results_*.json")
    scores = json.loads(results.read_text("utf-8"))["results"]
    reported = {one["label"]: one["sections"] for one in found["reported"]}
    for section in (*found["points"][found["chosen"]]["sections"], *reported[label]):
        theirs = scores[section["name"]]
        assert section["score"] == theirs["accuracy,none"]
        assert section["stderr"] == theirs["accuracy_stderr,none"]
    for role, task in (("select", "chosen"), ("report", "proof")):
        (mine,) = (workshop.out / "results" / label / role / task).glob("samples_*")
        (other,) = Path("evaluated").rglob(f"samples_{task}_*")
        assert rewards(mine) == rewards(other)


def run(command: str, *arguments: str) -> None:
    done = warm.run(command, *arguments)
    assert done.returncode == 0, done.stderr


def rewards(samples: Path) -> list[Any]:
    lines = map(json.loads, samples.read_text("utf-8").splitlines())
    return [[answer[0] for answer in line["filtered_resps"]] for line in lines]
