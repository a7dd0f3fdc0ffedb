"""The card of a real merge, from files that lm-eval itself wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.harness.show.card.conftest import card, refused

Run = Callable[..., Path]
TASK = "rewardbench-hep-cpp"


@pytest.fixture
def rows(write_rows: Callable[..., Path]) -> Path:
    """RewardBench rows of two subsets; the number at a response's end is its reward."""
    outcomes = {"hep-cpp": "1 1 1 0", "hep-go": "1 0", "alpacaeval-easy": "1 1"}
    found = [
        {"prompt": f"{subset} {number}", "chosen": f"a {right}", "rejected": "b 0.5"}
        | {"subset": subset, "id": number}
        for subset, outcome in outcomes.items()
        for number, right in enumerate(outcome.split())
    ]
    return write_rows(found)


def made(out: Path, *results: Path) -> tuple[ModelCard, str]:
    """Make the card; gives it, and what the command said on stderr."""
    result = card(out, *(arg for path in results for arg in ("--results", path)))
    assert result.exit_code == 0, result.output
    return ModelCard.load(out / "README.md"), result.stderr


def names(loaded: ModelCard) -> list[str]:
    return [result.metric_name for result in loaded.data.eval_results]


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    (path,) = folder.rglob("results_*.json")
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    return folder


def test_figures_of_a_run(out: Path, run_of: Run, rows: Path) -> None:
    """Groups and tasks with the items of the published set; how λ was chosen is not known."""
    folder = run_of(out, "rewardbench_reasoning", rows=rows)
    loaded, _ = made(out, folder)
    results = {result.metric_name: result for result in loaded.data.eval_results}
    assert list(results) == [
        "rewardbench_reasoning (partial: 2 of 7 subsets): accuracy (6 items, standard error 0.280)",
        "rewardbench-hep-cpp: accuracy (4 of 164 items, standard error 0.250)",
        "rewardbench-hep-go: accuracy (2 of 164 items, standard error 0.500)",
    ]
    first = loaded.data.eval_results[0]
    assert (first.metric_value, first.metric_type) == (0.625, "accuracy")
    assert (first.dataset_type, first.dataset_split) == ("allenai/reward-bench", "filtered")
    assert "Not known: the results do not tell it." in loaded.text
    assert "Not compared item by item" in loaded.text
    assert (
        "--model_args pretrained=...,dtype=float32 --tasks rewardbench_reasoning --batch_size 4"
        in loaded.text
    )
    text = (out / "README.md").read_bytes()
    made(out, next(folder.rglob("results_*.json")))
    assert (out / "README.md").read_bytes() == text


def test_latest_run_of_each_task(out: Path, run_of: Run, rows: Path) -> None:
    """A folder of --output_path holds all runs of a model."""
    folder = run_of(out, TASK, "rewardbench-hep-go", rows=rows)
    run_of(out, TASK, rows=rows, limit=2)
    loaded, _ = made(out, folder)
    assert names(loaded) == [
        "rewardbench-hep-go: accuracy (2 of 164 items, standard error 0.500)",
        "rewardbench-hep-cpp: accuracy (2 of 164 items, standard error 0.000)",
    ]
    assert "--limit 2" in loaded.text


def test_selection_scores_are_no_test_results(
    out: Path, run_of: Run, rows: Path, sweep: Callable[..., Path]
) -> None:
    """A run on the task that chose λ, and on a group that holds it, beside its sweep."""
    runs = run_of(out, "rewardbench_reasoning", rows=rows)
    loaded, _ = made(out, sweep(select=[TASK]), runs)
    assert [name for name in names(loaded) if "hep" in name or "reasoning" in name] == [
        "rewardbench-hep-go: accuracy (2 of 164 items, standard error 0.500)"
    ]
    assert len(names(loaded)) == 5
    assert "| 0.625 ±0.280 (selection score) |" in loaded.text  # the group
    assert "| 0.750 ±0.250 (selection score) |" in loaded.text


@pytest.mark.parametrize("adapter", ["peft", "delta"])
def test_an_adapter_is_another_model(out: Path, run_of: Run, rows: Path, adapter: str) -> None:
    def change(content: dict[str, Any]) -> None:
        content["config"]["model_args"][adapter] = "mine"

    line = refused(out, "--results", edit(run_of(out, TASK, rows=rows), change))
    assert f"measured with {adapter}=mine, expected the merged model alone" in line


def test_another_model(out: Path, run_of: Run, rows: Path, reward_model: Path) -> None:
    """Here or not here; a model that is not here may be this one, if it has its name."""
    line = refused(out, "--results", run_of(reward_model, TASK, rows=rows, name="a"))
    assert f"is of the model {reward_model}, expected {out}" in line
    assert f"lm_eval --model_args pretrained={out}" in line
    assert "expected" in refused(out, "--results", run_of("me/other", TASK, rows=rows, name="b"))
    _, said = made(out, run_of("me/merged", TASK, rows=rows, name="c"))
    assert "is of me/merged, which is not here; taken for" in said


def test_arguments_as_text_or_not_at_all(out: Path, run_of: Run, rows: Path) -> None:
    def as_text(content: dict[str, Any]) -> None:
        content["config"]["model_args"] = f"pretrained={out},dtype=float32"

    loaded, said = made(out, edit(run_of(out, TASK, rows=rows, name="a"), as_text))
    assert said == "" and "pretrained=...,dtype=float32" in loaded.text
    _, said = made(out, run_of(None, TASK, rows=rows, name="b"))
    assert "does not name its model; taken for" in said


def test_older_than_the_weights(out: Path, run_of: Run, rows: Path) -> None:
    folder = run_of(out, TASK, rows=rows)
    (weights,) = out.glob("*.safetensors")
    later = weights.stat().st_mtime + 1000
    os.utime(weights, (later, later))
    assert "is older than the weights" in made(out, folder)[1]


def test_metrics(out: Path, run_of: Run, rows: Path) -> None:
    """What describes the data is left out; a filter is named; the Hub's names are used."""

    def change(content: dict[str, Any]) -> None:
        found = content["results"][TASK]
        content["results"][TASK] = {
            "alias": found["alias"],
            "sample_len": 4,
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "exact_match,strict": 0.25,
            "exact_match_stderr,strict": "N/A",
            "best_of_n@4,none": 0.75,
            "oracle@4,none": 0.9,
            "margin,none": 1.5,
            "ties,none": float("nan"),
        }

    loaded, _ = made(out, edit(run_of(out, TASK, rows=rows), change))
    found = [(one.metric_type, one.metric_name) for one in loaded.data.eval_results]
    assert found == [
        ("accuracy", f"{TASK}: acc (4 of 164 items, standard error 0.100)"),
        ("exact_match (strict)", f"{TASK}: exact_match (strict) (4 of 164 items)"),
        ("best_of_n@4", f"{TASK}: best_of_n@4 (4 of 164 items)"),
    ]
    assert "| section | metric | items | this model |" in loaded.text


def test_a_language_model(out: Path, run_of: Run, rows: Path) -> None:
    """A merged policy, as reward-implicit scores it, is no text classifier."""
    architecture = '{"architectures": ["LlamaForCausalLM"]}'
    (out / "config.json").write_text(architecture, "utf-8")
    loaded, _ = made(out, run_of(out, TASK, rows=rows))
    assert [one.task_type for one in loaded.data.eval_results] == ["text-generation"]


def test_no_figures_and_several_models(out: Path, run_of: Run, rows: Path, tmp_path: Path) -> None:
    folder = run_of(out, TASK, rows=rows)
    (path,) = folder.rglob("results_*.json")
    other = folder / "another" / path.name
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    assert "holds runs of 2 models (another, " in refused(out, "--results", folder)
    edit(other.parent, lambda content: content.update(results={TASK: {"alias": TASK}}))
    assert f"has no figures (found: {TASK})" in refused(out, "--results", other)
    other.write_text('{"a": 1}', "utf-8")
    assert "has no results" in refused(out, "--results", other)
    other.write_text("{", "utf-8")
    assert "is not JSON" in refused(out, "--results", other)
