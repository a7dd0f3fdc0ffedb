"""What the chosen weight gained: the figures of `dogerm compare` on the same runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.runs.results import find_run
from harness.study import proof
from tests.harness.conftest import preference_rows
from tests.harness.study.sweeping import Workshop, pairs
from tests.harness.tasks.test_mrewardbench import rows as translated

FIGURES = ("items", "a", "b", "difference", "low", "high", "p", "test")


@pytest.fixture
def workshop(tmp_path: Path, reward_model: Path, language_model: Path) -> Workshop:
    return Workshop(tmp_path, [reward_model, language_model])


def compared(a: Path, b: Path, folder: Path, metric: str) -> list[dict[str, Any]]:
    """The sections that `dogerm compare` gives."""
    from harness.commands.cli import main

    out = folder / "compare.json"
    command = ["compare", str(a), str(b), "--metric", metric, "-o", str(out)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(out.read_text("utf-8"))["sections"]
    return found


@pytest.mark.parametrize("metric", ["accuracy", "margin"])
def test_the_proof_is_that_of_compare_on_the_result_folders(
    workshop: Workshop, write_rows: Callable[..., Path], metric: str
) -> None:
    """A benchmark with groups, and a task beside it: one correction over all of them."""
    rows = [*preference_rows("alpacaeval-easy", 9), *preference_rows("hep-python", 8, 20)]
    data = write_rows([*rows, *preference_rows("math-prm", 7, 40)])
    found = workshop.swept(
        "--report",
        f"rewardbench,{workshop.folder / 'proof.yaml'}",
        "--metadata",
        json.dumps({"data_dir": str(data)}),
        "--metric",
        metric,
    )
    scores = [point["score"] for point in found["points"]]
    assert found["chosen"] == scores.index(max(scores))
    label = found["points"][found["chosen"]]["label"]
    given = found["proof"]
    assert (given["a"], given["b"], given["metric"]) == ("0", label, metric)
    runs = {}
    for side in ("0", label):  # as if lm-eval had written both tasks into one folder
        runs[side] = workshop.folder / f"run-{side}"
        runs[side].mkdir()
        for file in (workshop.out / "results" / side / "report").rglob("*_2*"):
            shutil.copy(file, runs[side])
    theirs = compared(runs["0"], runs[label], workshop.folder, metric)
    assert [one["name"] for one in theirs] == [one["name"] for one in given["sections"]]
    for ours, other in zip(given["sections"], theirs, strict=True):
        for key in ("depth", "is_group", "gained", "lost", "p_holm", "verdict"):
            assert ours[key] == other[key], key
        for key in FIGURES:
            assert ours[key] == other["comparison"][key], key
    reported = {one["label"]: one["sections"] for one in found["reported"]}
    for side, key in (("0", "a"), (label, "b")):
        scores = {section["name"]: section["score"] for section in reported[side]}
        for section in given["sections"]:
            assert section[key] == pytest.approx(scores[section["name"]], abs=1e-12)


def test_prompts_that_begin_alike_are_not_one(workshop: Workshop) -> None:
    """The kept samples have a prompt's beginning only; it does not tell prompts apart."""
    lead = "Answer the question that follows as an expert would, in a few words. " * 2
    rows = [{**row, "prompt": lead + row["prompt"]} for row in pairs("proof", 10)]
    workshop.write_task("proof", [*rows, {**rows[0], "chosen": "another answer"}])
    (section,) = workshop.swept()["proof"]["sections"]
    assert (section["items"], section["prompts"]) == (11, 10)


def test_a_prompt_in_two_tasks_of_a_group_is_one(
    workshop: Workshop, write_rows: Callable[..., Path]
) -> None:
    """As in JudgeBench, where two models answered the same questions."""
    rows = [*preference_rows("alpacaeval-easy", 9), *preference_rows("hep-python", 8, 20)]
    for row in rows[:4]:
        rows.append({**row, "subset": "hep-python"})
    found = workshop.swept(
        "--report", "rewardbench", "--metadata", json.dumps({"data_dir": str(write_rows(rows))})
    )["proof"]
    prompts = {one["name"]: (one["items"], one["prompts"]) for one in found["sections"]}
    assert prompts["rewardbench"] == (21, 17)
    assert prompts["rewardbench_chat"] == (9, 9)
    assert "rewardbench: 21 items of 17 prompts: interval and p count a prompt as one" in " ".join(
        found["notes"]
    )


def test_a_row_in_two_languages_is_one(workshop: Workshop, write_rows: Callable[..., Path]) -> None:
    """M-RewardBench's translations: drawn together, and none chooses where another is reported."""
    for language in ("tur_Latn", "deu_Latn"):
        data = write_rows(translated(language), f"mrewardbench-{language}")
    given = "--metadata", json.dumps({"data_dir": str(data)})
    found = workshop.swept("--report", "mrewardbench", *given)["proof"]
    prompts = {one["name"]: (one["items"], one["prompts"]) for one in found["sections"]}
    assert prompts["mrewardbench-deu_Latn"] == prompts["mrewardbench-tur_Latn"] == (18, 18)
    assert prompts["mrewardbench"] == (36, 18)
    refused = workshop.sweep(
        "--select", "mrewardbench-deu_Latn", "--report", "mrewardbench-tur_Latn", *given
    )
    assert refused.exit_code == 1
    assert "18 prompts of mrewardbench-tur_Latn are also in mrewardbench-deu_Latn" in refused.output
    assert "'alpacaeval-easy 0 of RewardBench'" in refused.output


def test_margins_are_histograms_of_the_same_edges(workshop: Workshop) -> None:
    """With the rewards' own differences in them."""
    found = workshop.swept()
    margins = found["margins"]
    assert (margins["tasks"], margins["items"]) == (["proof"], 10)
    assert len(margins["edges"]) == 41
    for label, counts in margins["counts"].items():
        (samples,) = (workshop.out / "results" / label / "report/proof").glob("samples_*")
        lines = map(json.loads, samples.read_text("utf-8").splitlines())
        rewards = ([float(answer[0]) for answer in line["filtered_resps"]] for line in lines)
        values = [chosen - rejected for chosen, rejected in rewards]
        assert margins["mean"][label] == pytest.approx(sum(values) / 10)
        assert sum(counts) == 10
        below = sum(value < margins["edges"][20] for value in values)
        assert sum(counts[:20]) == below


def test_what_can_not_be_compared_is_said_and_the_rest_is_proven(workshop: Workshop) -> None:
    other = workshop.write_task("other", pairs("other", 5))
    workshop.swept("--report", f"{workshop.folder / 'proof.yaml'},{other}")
    results = workshop.out / "results"
    (samples,) = (results / "1" / "report" / "other").glob("samples_*")
    samples.write_text(samples.read_text("utf-8").replace('"doc_hash": "', '"doc_hash": "0'))
    sides = [
        [find_run(results / label / "report" / task) for task in ("other", "proof")]
        for label in ("0", "1")
    ]
    found = proof.compare_all(*sides, "accuracy")
    assert [section["name"] for section in found["sections"]] == ["proof"]
    assert found["notes"][0].startswith("other: not compared: other: doc_id 0 is not the same")
