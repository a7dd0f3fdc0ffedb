"""`dogerm compare` on what lm-eval itself has written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.compare.statistics import mcnemar
from tests import warm
from tests.harness.compare.conftest import GO, dogerm, evaluate, reader, rows, write
from tests.harness.conftest import preference_rows
from tests.harness.test_command import results, run_lm_eval


def compared(a: Path, b: Path, *options: Any, output: Path) -> dict[str, Any]:
    dogerm(a, b, "-o", output, *options)
    return dict(json.loads(output.read_text()))


def by_name(report: dict[str, Any]) -> dict[str, Any]:
    return {section["name"]: section for section in report["sections"]}


def test_every_number_is_lm_evals_own(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Tasks, weighted sections and the overall mean, for both models."""
    report = by_name(compared(*two, output=tmp_path / "c.json"))
    for side, folder in zip("ab", two, strict=True):
        written = results(folder)["results"]
        numbers = {name: found.get("accuracy,none") for name, found in written.items()}
        present = {name for name, number in numbers.items() if number is not None}
        assert present == set(report) and len(present) == 6
        for name in present:
            assert report[name]["comparison"][side] == pytest.approx(numbers[name], abs=1e-12)
    # math-prm counts 984 to 164, whatever its rows
    weights = report["rewardbench_reasoning"]["weights"]
    assert weights["rewardbench-math-prm"] == pytest.approx(984 / (984 + 164))
    assert report["rewardbench"]["weights"]["rewardbench-refusals-offensive"] == 0.5


def test_the_statistics_of_a_section(two: tuple[Path, Path], tmp_path: Path) -> None:
    report = by_name(compared(*two, output=tmp_path / "c.json"))
    go = report["rewardbench-hep-go"]
    assert (go["gained"], go["lost"], go["comparison"]["items"]) == (9, 1, 20)
    assert go["comparison"]["p"] == 0.021484375 and go["comparison"]["test"] == "mcnemar"
    assert go["comparison"]["difference"] == pytest.approx(0.4)
    assert 0 < go["comparison"]["low"] < 0.4 < go["comparison"]["high"] < 0.8
    # Three tasks: .0215 · 3, so what alone would look like a gain is noise.
    assert go["p_holm"] == pytest.approx(0.064453125) and go["verdict"] == "noise"
    assert report["rewardbench_reasoning"]["comparison"]["test"] == "sign-flip"
    assert report["rewardbench_safety"]["comparison"]["p"] == mcnemar(2, 0) == 0.5
    assert report["rewardbench"]["depth"] == 0 and go["depth"] == 2


def test_a_real_gain_and_a_real_loss_are_called_so(tmp_path: Path) -> None:
    data = write(
        tmp_path / "data",
        rows("hep-go", ["-+"] * 20 + ["++"] * 5) + rows("hep-js", ["++", "-+"], 50),
    )
    names = ["rewardbench_reasoning"]
    a, b = (evaluate(data, names, reader(i), tmp_path / f"{i}") for i in (1, 2))
    verdicts = {
        n: s["verdict"] for n, s in by_name(compared(a, b, output=tmp_path / "1.json")).items()
    }
    assert verdicts == {
        "rewardbench_reasoning": "better",
        "rewardbench-hep-go": "better",
        "rewardbench-hep-js": "noise",
    }
    back = by_name(compared(b, a, output=tmp_path / "2.json"))
    assert back["rewardbench-hep-go"]["verdict"] == "worse"
    # ties: fewer are better; hep-go has none
    ties = by_name(compared(a, b, "--metric", "ties", output=tmp_path / "3.json"))
    assert ties["rewardbench-hep-go"]["verdict"] == "same"


def test_pairs_of_one_prompt_are_one_trial(tmp_path: Path) -> None:
    """Ten gains of one prompt are no ten gains."""
    data = write(tmp_path / "data", rows("hep-go", ["-+"] * 10 + ["++"] * 10))
    file = next(data.iterdir())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for row in lines[:10]:
        row["prompt"] = lines[0]["prompt"]
    file.write_text("".join(json.dumps(row) + "\n" for row in lines))
    a, b = (evaluate(data, ["rewardbench-hep-go"], reader(n), tmp_path / str(n)) for n in (1, 2))
    report = compared(a, b, output=tmp_path / "c.json")
    (section,) = report["sections"]
    assert (section["comparison"]["items"], section["comparison"]["prompts"]) == (20, 11)
    assert (section["gained"], section["verdict"]) == (10, "noise")
    assert section["comparison"]["p"] == 1
    assert any("20 items of 11 prompts" in note for note in report["notes"])


def test_lower_is_better_where_the_task_says_so(tmp_path: Path) -> None:
    data = write(tmp_path / "data", rows("hep-go", ["=+"] * 12))
    names = ["rewardbench-hep-go"]
    a, b = (evaluate(data, names, reader(i), tmp_path / f"{i}") for i in (1, 2))
    report = compared(a, b, "--metric", "ties", output=tmp_path / "c.json")
    (found,) = report["sections"]
    assert found["comparison"]["difference"] == -1.0 and not report["higher_is_better"]
    assert (found["gained"], found["lost"], found["verdict"]) == (12, 0, "better")
    assert "ties, lower is better" in dogerm(a, b, "--metric", "ties")


def test_a_model_against_itself(two: tuple[Path, Path], tmp_path: Path) -> None:
    report = compared(two[0], two[0], output=tmp_path / "c.json")
    for section in report["sections"]:
        found = section["comparison"]
        assert (found["difference"], found["low"], found["high"]) == (0, 0, 0)
        assert (section["gained"], section["lost"], section["verdict"]) == (0, 0, "same")
        assert found["p"] == section["p_holm"] == 1.0
    assert not any(report["flips"].values())


def test_the_table(two: tuple[Path, Path]) -> None:
    shown = dogerm(*two, "--flips", "2").splitlines()
    header = next(line for line in shown if line.startswith("section"))
    titles = "section items A B B − A 95% interval gained lost p p (Holm)"
    assert " ".join(header.split()) == titles
    table = shown[shown.index(header) :]
    go = next(line for line in table if line.startswith("    rewardbench-hep-go "))
    assert go.split()[1:5] == ["20", "0.300", "0.700", "+0.400"]
    assert go.endswith("  0.021     0.064  noise")
    assert any(line.startswith("  rewardbench_reasoning") and "  ~" in line for line in table)
    assert (
        "Holm: over 3 tasks and, apart, over 3 groups. noise: p (Holm) is not below 0.05." in shown
    )
    (partial,) = (line for line in shown if line.startswith("Note: partial"))
    assert "rewardbench_reasoning 2 of 7" in partial and "rewardbench 3 of 23" in partial
    at = shown.index("rewardbench-hep-go: 10 items differ, of them:")
    assert shown[at + 1] == "      0  0 -> 1  margin -1.000 -> +2.000  question 0 of hep-go"
    assert shown[at + 3].startswith("rewardbench-math-prm: 3 items")


def test_the_json_says_where_it_is_from(two: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "new" / "c.json"
    report = compared(*two, "--seed", 3, "--confidence", 0.9, "--resamples", 500, output=output)
    assert (report["seed"], report["confidence"], report["resamples"]) == (3, 0.9, 500)
    assert report["metric"] == "accuracy" and report["kinds"] == [["reward"], ["reward"]]
    assert report["dogerm_version"] and report["a"]["run"]["lm_eval_version"].startswith("0.4.")
    samples = Path(report["b"]["samples"]["rewardbench-hep-go"])
    assert samples.is_file() and samples.is_relative_to(two[1])
    flips = report["flips"]["rewardbench-hep-go"]
    assert [flip["doc_id"] for flip in flips] == list(range(10))
    assert flips[9] == {
        "doc_id": 9,
        "a": 1.0,
        "b": 0.0,
        "margin_a": 2.0,
        "margin_b": -1.0,
        "prompt": "question 9 of hep-go",
    }
    assert list(output.parent.iterdir()) == [output]
    assert (
        compared(*two, "--resamples", 500, output=tmp_path / "d.json")["sections"]
        != (report["sections"])
    )


@pytest.mark.parametrize(
    ("confidence", "resamples", "enough"),
    [(0.95, 100, None), (0.99, 299, "300"), (0.99, 300, None)],
)
def test_too_few_resamples_are_said(
    two: tuple[Path, Path], confidence: float, resamples: int, enough: str | None
) -> None:
    """Three groups: the smallest p (Holm) of a drawn test is 3 / (resamples + 1)."""
    shown = dogerm(*two, "--confidence", confidence, "--resamples", resamples)
    found = [line for line in shown.splitlines() if "however large the difference" in line]
    if enough is None:
        assert not found
    else:
        (note,) = found  # none of the tasks, whose tests are exact
        assert "the ~ tests of 3 groups" in note and note.endswith(
            f"use --resamples {enough} or more"
        )


def test_margins_have_an_interval_and_a_sign_flip_test(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    report = by_name(compared(*two, "--metric", "margin", output=tmp_path / "c.json"))
    go = report["rewardbench-hep-go"]["comparison"]
    assert go["difference"] == pytest.approx((9 * 3 - 3) / 20) and go["test"] == "sign-flip"
    # Ten items differ, each by 3, of which 9 rise: the same question as McNemar's.
    assert go["p"] == pytest.approx(mcnemar(9, 1), abs=0.006)
    assert "own unit of reward" in dogerm(*two, "--metric", "margin")


def test_one_results_file_or_one_samples_file(two: tuple[Path, Path], tmp_path: Path) -> None:
    files = [next(folder.glob("model/results_*.json")) for folder in two]
    assert (
        compared(*files, output=tmp_path / "1.json")["sections"]
        == (compared(*two, output=tmp_path / "2.json")["sections"])
    )
    files = [next(folder.glob("model/samples_rewardbench-hep-go_*")) for folder in two]
    report = compared(*files, output=tmp_path / "3.json")
    assert [section["name"] for section in report["sections"]] == ["rewardbench-hep-go"]
    moved = files[1].rename(tmp_path / "mine.jsonl")
    assert "no task in common: " in dogerm(files[0], moved, status=1)


def test_kinds_of_score_that_differ_are_said(tmp_path: Path) -> None:
    data = write(tmp_path / "data", rows("hep-go", GO))
    a = evaluate(data, ["rewardbench-hep-go"], reader(1), tmp_path / "a")
    b = evaluate(data, ["rewardbench-hep-go"], reader(2, "likelihood"), tmp_path / "b")
    assert "A's scores are of kind reward, B's of kind likelihood" in dogerm(a, b)


def test_minipref_and_lm_evals_own_mean(tmp_path: Path) -> None:
    """The packaged task, with a model that prefers the long and one that prefers the short."""
    a = evaluate(tmp_path, ["minipref"], by_length(1), tmp_path / "a", limit=20)
    b = evaluate(tmp_path, ["minipref"], by_length(-1), tmp_path / "b", limit=20)
    report = by_name(compared(a, b, output=tmp_path / "c.json"))
    assert len(report) == 6 and set(report["minipref"]["weights"].values()) == {0.2}
    assert report["minipref"]["comparison"]["b"] == pytest.approx(
        results(b)["results"]["minipref"]["accuracy,none"], abs=1e-12
    )
    assert report["minipref"]["comparison"]["items"] == 100


def by_length(sign: int) -> Any:
    from lm_eval.api.model import LM

    class ByLength(LM):
        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            return [(float(sign * len(r.args[1])), False) for r in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any: ...

        def generate_until(self, requests: Any) -> Any: ...

    return ByLength()


@pytest.mark.slow
def test_two_real_reward_models(
    save_reward_model: Callable[..., Path], write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    """Two runs of lm_eval and `dogerm compare`, each a process of its own."""
    data = write_rows(preference_rows("llmbar-natural", 9) + preference_rows("math-prm", 7, 50))
    folders = []
    for seed in (0, 1):
        folders.append(tmp_path / f"results-{seed}")
        run_lm_eval(
            [
                *("--model", "reward", "--tasks", "rewardbench", "--log_samples"),
                *("--model_args", f"pretrained={save_reward_model(seed=seed)}"),
                *("--device", "cpu", "--metadata", json.dumps({"data_dir": str(data)})),
                *("--output_path", str(folders[-1])),
            ],
        )
    output = tmp_path / "compare.json"
    done = warm.run("dogerm", "compare", *folders, "-o", output)
    assert done.returncode == 0, done.stderr
    assert (
        "rewardbench-llmbar-natural" in done.stdout
        and done.stdout.count("(reward pretrained=") == 2
    )
    report = json.loads(output.read_text())
    sections = by_name(report)
    for side, folder in zip("ab", folders, strict=True):
        for name, found in results(folder)["results"].items():
            if "accuracy,none" in found:
                ours = sections[name]["comparison"][side]
                assert ours == pytest.approx(found["accuracy,none"], abs=1e-12)
    assert len(sections) == 5 and report["a"]["model"]["model"] == "reward"
    assert any(report["flips"].values())
