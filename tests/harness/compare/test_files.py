"""Which files are read, and what is said where they are not as they should be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.compare import groups
from harness.compare.comparison import compare_runs
from harness.errors import HarnessError
from harness.runs.results import find_run, newest, read_json
from harness.show import compare_text
from tests.harness.compare.conftest import dogerm

Two = tuple[Path, Path]
LATER = "2999-01-02T03-04-05.600000"


def edit(folder: Path, change: Callable[[list[dict[str, Any]]], Any], task: str = "hep-go") -> Path:
    """Change the samples of a task in place."""
    (file,) = folder.glob(f"model/samples_rewardbench-{task}_*.jsonl")
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    change(samples)
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return file


def edit_results(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    (file,) = folder.glob("model/results_*.json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def sections(a: Path, b: Path, metric: str = "accuracy") -> tuple[set[str], str]:
    report = compare_runs(find_run(a), find_run(b), metric, resamples=100)
    return {section.name for section in report.sections}, " | ".join(report.notes)


def test_the_newest_run_of_a_task_is_taken_and_said(two: Two) -> None:
    a, _ = two
    (old,) = a.glob("model/samples_rewardbench-hep-go_*.jsonl")
    new = old.with_name(f"samples_rewardbench-hep-go_{LATER}.jsonl")
    new.write_text(old.read_text())
    run = find_run(a)
    assert run.leaves["rewardbench-hep-go"] == new
    assert run.leaves["rewardbench-math-prm"].name[-30:] == old.name[-30:]
    notes = " | ".join(run.notes)
    assert "1 older samples files of the same tasks are not used" in notes
    assert "its tasks are from 2 runs" in notes and LATER in notes
    (file,) = a.glob("model/results_*.json")
    assert find_run(file).leaves["rewardbench-hep-go"] == old and not find_run(file).notes


def test_the_newest_file_of_each_name() -> None:
    dates = ("2024-09-01T10-00-00.5", "2024-10-01T09-00-00.25", "2024-10-01T09-00-00")
    files = [Path(f"x/{name}_{date}.json") for name in ("results", "samples_a_b") for date in dates]
    for order in itertools.permutations(files[:3]):
        assert newest([*order, *files[3:], Path("x/results.json"), Path("x/mine.jsonl")]) == {
            "results": files[1],
            "samples_a_b": files[4],
        }


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "holds a JSON list, expected an object"),
        (b"\xff", "not JSON"),
    ],
)
def test_json_that_is_not_an_object(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(HarnessError, match=what) as caught:
        read_json(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_two_models_is_refused(two: Two) -> None:
    a, b = two
    (b / "model").rename(a / "other")
    assert "holds runs of 2 models (model, other)" in dogerm(a, a, status=1)
    assert find_run(a / "other").leaves.keys() == find_run(a / "model").leaves.keys()


def test_a_folder_without_samples(tmp_path: Path, two: Two) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shown = dogerm(two[0], empty, status=1)
    assert "run lm_eval with --log_samples" in shown and shown.count("\n") == 1
    assert "does not exist" in dogerm(two[0], tmp_path / "nowhere", status=2)
    odd = tmp_path / "odd.txt"
    odd.touch()
    assert "neither a folder of lm_eval's --output_path nor" in dogerm(two[0], odd, status=1)


def test_other_data_under_the_same_name(two: Two) -> None:
    edit(two[1], lambda samples: samples[4].update(doc_hash="another"))
    shown = dogerm(*two, status=1)
    assert "rewardbench-hep-go: doc_id 4 is not the same document in" in shown
    assert "same data file and task version" in shown


def test_items_that_one_run_lacks_are_left_out_and_counted(two: Two) -> None:
    """As under --limit; the results of neither are expected then."""
    a, b = two
    edit(a, lambda samples: samples.pop(0))
    edit(b, lambda samples: samples.__delitem__(slice(-3, None)))
    for folder in two:
        edit_results(folder, lambda content: content["results"].pop("rewardbench-hep-go"))
    report = compare_runs(find_run(a), find_run(b), resamples=100)
    found = {section.name: section for section in report.sections}
    go = found["rewardbench-hep-go"]
    assert go.items == 16 and go.left_out == (3, 1)
    assert found["rewardbench_reasoning"].left_out == (3, 1)
    text = "16 items compared; left out: 3 that only A has, 1 that only B has"
    assert any(text in note for note in report.notes)


def test_a_task_that_one_run_lacks(two: Two) -> None:
    """Its groups would be nobody's numbers."""
    a, b = two
    next(b.glob("model/samples_rewardbench-math-prm_*")).unlink()

    def without(content: dict[str, Any]) -> None:
        for part in content.values():
            if isinstance(part, dict):
                part.pop("rewardbench-math-prm", None)

    edit_results(b, without)
    names, notes = sections(a, b)
    assert names == {
        "rewardbench-hep-go",
        "rewardbench-refusals-offensive",
        "rewardbench_safety",
    }
    assert "/a has them: rewardbench-math-prm" in notes
    assert "a task of theirs is left out: rewardbench, rewardbench_reasoning" in notes


def test_a_score_that_is_not_the_mean_of_its_items(two: Two) -> None:
    for folder in two:
        edit_results(
            folder,
            lambda content: content["results"]["rewardbench-hep-go"].update(
                {"accuracy,none": 0.123}
            ),
        )
    names, notes = sections(*two)
    assert "rewardbench-hep-go" not in names and "rewardbench_reasoning" not in names
    assert "rewardbench-hep-go: left out, as its accuracy,none in the results of" in notes


def test_a_value_that_is_no_number_an_item(two: Two) -> None:
    """As where a task logs a mapping, whose score is of all items together."""
    for folder in two:
        edit(folder, lambda samples: [s.update(accuracy={"gap": 1.0}) for s in samples])
    names, notes = sections(*two)
    assert "rewardbench-hep-go" not in names and "rewardbench_safety" in names
    assert "they have no accuracy of one number an item: rewardbench-hep-go" in notes


def test_a_group_by_another_rule_than_the_known_one(two: Two) -> None:
    edit_results(
        two[0], lambda content: content["results"]["rewardbench"].update({"accuracy,none": 0.5})
    )
    names, notes = sections(*two)
    assert "rewardbench" not in names and "rewardbench_reasoning" in names
    assert "rewardbench: not compared, as its accuracy,none in the results of" in notes


def test_other_versions_of_a_task_are_said(two: Two) -> None:
    edit_results(two[0], lambda content: content["versions"].update({"rewardbench-hep-go": 0.9}))
    assert "rewardbench-hep-go: A is of version 0.9, B of version 1.0" in sections(*two)[1]


def test_without_results_files_tasks_are_compared(two: Two) -> None:
    for folder in two:
        next(folder.glob("model/results_*")).unlink()
    assert sections(*two)[0] == {
        "rewardbench-hep-go",
        "rewardbench-math-prm",
        "rewardbench-refusals-offensive",
    }


def test_a_metric_that_nobody_has(two: Two) -> None:
    shown = dogerm(*two, "--metric", "acc", status=1)
    assert "no task has acc as one number an item" in shown
    assert "has accuracy, margin, ties, longer: choose with --metric" in shown
    shown = dogerm(*two, "--metric", "acuracy", status=1)
    assert "choose with --metric; did you mean 'accuracy'?" in shown


def test_a_metric_that_is_a_count_or_empty(two: Two) -> None:
    shown = dogerm(*two, "--metric", "truncated", status=1)
    assert shown == (
        "Error: truncated is a count, which has no mean to compare: choose with --metric\n"
    )
    for metric in ("", ",none"):
        shown = dogerm(*two, "--metric", metric, status=1)
        assert shown.startswith(f"Error: the metric is {metric!r}, expected NAME or NAME,FILTER")
        assert shown.count("\n") == 1


def test_several_filters_want_a_choice(two: Two) -> None:
    """As gsm8k has strict-match and flexible-extract: the same items twice in one file."""

    def twice(samples: list[dict[str, Any]]) -> None:
        for sample in list(samples):
            samples.append({**sample, "filter": "other", "accuracy": 1.0})

    for folder in two:
        edit(folder, twice)
    shown = dogerm(*two, status=1)
    assert "several filters: choose one, e.g. --metric accuracy,none" in shown
    assert "rewardbench-hep-go" in sections(*two, "accuracy,none")[0]
    found = compare_runs(find_run(two[0]), find_run(two[1]), "accuracy,other", resamples=100)
    assert [(s.name, s.a) for s in found.sections] == [("rewardbench-hep-go", 1.0)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 21: not a JSON object"),
        ("7", "line 21: not a JSON object"),
        ('{"doc_id": 3}', "line 21: lacks doc_hash, filter, filtered_resps, metrics"),
        ("again", "line 21: doc_id 0 is there twice"),
        ("nan", "line 21: accuracy is nan, not a finite number"),
    ],
)
def test_files_that_are_damaged(two: Two, line: str, what: str) -> None:
    (file,) = two[0].glob("model/samples_rewardbench-hep-go_*.jsonl")
    first = file.read_text().splitlines()[0]
    made = {
        "again": first,
        "nan": json.dumps({**json.loads(first), "doc_id": 99, "accuracy": float("nan")}),
    }
    with file.open("a") as stream:
        stream.write(made.get(line, line) + "\n")
    shown = dogerm(*two, status=1)
    assert what in shown and file.name in shown and shown.count("\n") == 1


def test_an_empty_file_and_broken_results(two: Two) -> None:
    edit(two[0], lambda samples: samples.clear())
    assert "is empty" in dogerm(*two, status=1)
    next(two[0].glob("model/results_*")).write_text("{")
    assert "is not JSON" in dogerm(*two, status=1)


def test_items_of_which_none_is_common(two: Two) -> None:
    edit(two[0], lambda samples: [s.update(doc_id=s["doc_id"] + 50) for s in samples])
    assert "rewardbench-hep-go: no item is in both" in dogerm(*two, status=1)


def test_an_output_that_cannot_be_written(two: Two, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shown = dogerm(*two, "-o", tmp_path / "file" / "c.json", status=1)
    assert shown.splitlines()[-1].startswith("Error: ")


def test_an_output_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "c.json").mkdir()
    with pytest.raises(HarnessError, match=r"c.json can't be written \(Is a directory\)"):
        compare_text.write_json({"a": 1}, tmp_path / "c.json")
    with pytest.raises(ValueError):
        compare_text.write_json({"a": float("nan")}, tmp_path / "d.json")
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_a_group_that_is_not_known_here(two: Two, tmp_path: Path) -> None:
    """A user's own group: its rule comes from the folder of --include-path, or it is left out."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "mine.yaml").write_text(
        "group: mine\ntask: [rewardbench-hep-go, rewardbench-refusals-offensive]\n"
        "aggregate_metric_list: {metric: accuracy, weight_by_size: false}\n"
    )
    members = ["rewardbench-hep-go", "rewardbench-refusals-offensive"]

    def add(content: dict[str, Any]) -> None:
        scores = [content["results"][member]["accuracy,none"] for member in members]
        content["results"]["mine"] = {"accuracy,none": sum(scores) / 2}
        content["group_subtasks"]["mine"] = members

    for folder in two:
        edit_results(folder, add)
    shown = dogerm(*two, "--include-path", mine)
    (row,) = (line for line in shown.splitlines() if line.startswith("mine "))
    assert row.split()[1] == "26" and "not compared" not in shown


def test_a_group_that_nobody_knows(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without reading all of lm-eval's YAMLs, which test_groups does."""
    found = groups.definitions
    monkeypatch.setattr(
        groups, "definitions", lambda names, *rest: found({*names} - {"odd", "over"}, *rest)
    )
    for folder in two:
        edit_results(
            folder,
            lambda content: (
                content["results"].update(odd={"accuracy,none": 0.5}),
                content["results"].update(over={"accuracy,none": 0.5}),
                content["group_subtasks"].update(odd=["rewardbench-hep-go"], over=["odd"]),
            ),
        )
    names, notes = sections(*two)
    assert "odd" not in names and "rewardbench" in names
    told = "not compared, as no YAML found here tells the rule (--include-path): odd, over"
    assert told in notes and notes.count("odd") == 1
