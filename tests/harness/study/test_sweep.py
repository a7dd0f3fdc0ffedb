"""`dogerm sweep` on tiny models: what is measured, what is chosen, what is never taken twice."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.runs import identity
from harness.show import read as report
from tests import warm
from tests.harness.study.sweeping import (
    Workshop,
    disk_of_one_mebibyte,
    figures,
    pairs,
    save_language_model,
)

RESTARTED = "earlier results are set aside"


@pytest.fixture
def workshop(tmp_path: Path, reward_model: Path, language_model: Path) -> Workshop:
    return Workshop(tmp_path, [reward_model, language_model])


@pytest.fixture(scope="module")
def second_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: Any
) -> Path:
    return save_language_model(tmp_path_factory.mktemp("second"), tokenizer, small_config, 2)


def test_measures_every_weight_then_chooses_then_opens_the_report_rows(workshop: Workshop) -> None:
    """The ends and the chosen weight are all that is measured on the report rows."""
    workshop.draws = True
    found = workshop.swept("--weight", "0:1:0.25")
    assert [point["label"] for point in found["points"]] == ["0", "0.25", "0.5", "0.75", "1"]
    scores = [point["score"] for point in found["points"]]
    assert len(set(scores)) > 2  # the merges differ
    assert found["best"] == found["chosen"] == scores.index(max(scores))
    chosen = found["points"][found["chosen"]]["label"]
    ends = list(dict.fromkeys(["0", chosen, "1"]))
    assert [one["label"] for one in found["reported"]] == ends
    assert set(workshop.measured()) == {
        *(f"{label}/select/chosen" for label in ("0", "0.25", "0.5", "0.75", "1")),
        *(f"{label}/report/proof" for label in ends),
    }
    assert report.read(workshop.out / "sweep.json").metric == "accuracy"  # it is of the form
    assert (workshop.out / "best.yml").stat().st_size
    for name in ("lambda.png", "margins.png"):
        assert (workshop.out / name).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("given", "labels", "ends"),
    [
        (
            ("--weight", "0:1:0.5"),
            ["0,0", "0,0.5", "0.5,0", "0,1", "0.5,0.5", "1,0"],
            ["0,0", "0,1", "1,0"],
        ),
        (
            ("--weight", "0.2", "--weight", "0.1,0.3"),
            ["0,0", "0.2,0.1", "0.2,0.3"],
            ["0,0", "0.2,0.3"],
        ),
        (
            ("--weight", "0.3,0.6", "--path", "2,1"),
            ["0,0", "0.2,0.1", "0.4,0.2"],
            ["0,0", "0.4,0.2"],
        ),
    ],
)
def test_several_domain_models(
    workshop: Workshop,
    second_model: Path,
    given: tuple[str, ...],
    labels: list[str],
    ends: list[str],
) -> None:
    """A grid of one list for all, of one list each, or a line through the weights."""
    workshop.models = [*workshop.models, second_model]
    workshop.write_recipe()
    found = workshop.swept(*given)
    assert [point["label"] for point in found["points"]] == labels
    assert len({tuple(s["score"] for s in p["sections"]) for p in found["points"]}) > 1
    chosen = found["points"][found["chosen"]]["label"]
    assert [one["label"] for one in found["reported"]] == [
        label for label in labels if label in (*ends, chosen)
    ]
    for point in found["points"]:
        assert point["weights"] == [float(part) for part in point["label"].split(",")]


def test_a_second_run_measures_nothing_and_finds_the_same(workshop: Workshop) -> None:
    """The weight that the recipe names, and its comments, make no difference."""
    first = workshop.swept()
    before = workshop.measured()
    text = (workshop.folder / "recipe.yml").read_text("utf-8")
    (workshop.folder / "recipe.yml").write_text("# other\n" + text.replace("0.3", "0.4"), "utf-8")
    result = workshop.sweep()
    assert result.exit_code == 0
    assert "loading" not in result.stderr
    assert result.stderr.count("from an earlier run") == len(before)
    assert workshop.measured() == before
    second = workshop.content()
    assert second["recipe"]["text"] != first["recipe"]["text"]
    assert figures({**second, "recipe": first["recipe"]}) == figures(first)
    assert second["made"]["scoring_seconds"] == first["made"]["scoring_seconds"]


def test_more_weights_take_the_earlier_ones_as_they_are(workshop: Workshop) -> None:
    workshop.swept("--weight", "0:1:0.5")
    before = workshop.measured()
    found = workshop.swept("--weight", "0.0,0.25,0.50,0.75,1.00")
    after = workshop.measured()
    assert {place: after[place] for place in before} == before
    assert len(found["points"]) == 5
    shutil.rmtree(workshop.out)
    assert figures(workshop.swept("--weight", "0:1:0.25")) == figures(found)


def same_size_and_time(file: Path, change: Callable[[Path], None]) -> None:
    """Change a file so that neither its size nor its time tells."""
    before = file.stat()
    change(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def enlarged(file: Path) -> None:
    tensors = load_file(file)
    tensors["model.layers.0.mlp.down_proj.weight"] *= 3
    save_file(tensors, file, {"format": "pt"})


def test_another_model_file_starts_anew(workshop: Workshop) -> None:
    """Even where its size and its time are those of the one before."""
    copy = workshop.folder / "lm"
    shutil.copytree(workshop.models[1], copy)
    workshop.models = [workshop.models[0], copy]
    workshop.write_recipe()
    first = workshop.swept()
    before = workshop.measured()
    same_size_and_time(copy / "model.safetensors", enlarged)
    result = workshop.sweep()
    assert RESTARTED in result.stderr
    assert "lm/model.safetensors" in result.stderr
    assert "from an earlier run" not in result.stderr
    after = workshop.measured()
    assert not set(after.values()) & set(before.values())
    assert workshop.content()["points"][0]["score"] == first["points"][0]["score"]
    assert figures(workshop.content()) != figures(first)


def test_other_settings_start_anew_and_the_first_ones_go_on(workshop: Workshop) -> None:
    """Results of other settings are not lost: with those settings they are taken up again."""
    first = workshop.swept()
    before = workshop.measured()
    result = workshop.sweep("--batch_size", "4", "--model_args", "max_length=64")
    assert result.exit_code == 0, result.output
    assert RESTARTED in result.stderr
    assert 'batch_size: 8 -> 4; model_args: {} -> {"max_length": 64}' in result.stderr
    assert "from an earlier run" not in result.stderr
    again = workshop.sweep()
    assert "fit again" in again.stderr
    assert "loading" not in again.stderr
    assert workshop.measured() == before
    assert figures(workshop.content()) == figures(first)


def test_another_recipe_starts_anew(workshop: Workshop) -> None:
    workshop.swept()
    workshop.write_recipe(dtype="bfloat16")
    result = workshop.sweep()
    assert result.exit_code == 0, result.output
    assert f"{RESTARTED} in {workshop.out}" in result.stderr
    assert "recipe has changed" in result.stderr
    assert "from an earlier run" not in result.stderr


def test_another_chat_template_in_a_file_starts_anew(workshop: Workshop) -> None:
    template = workshop.folder / "template.jinja"
    text = "{% for message in messages %}{{ message['content'] }}|{% endfor %}"
    template.write_text(text, "utf-8")
    arguments = ("--model_args", f"chat_template={template}")
    workshop.swept(*arguments)
    template.write_text(text.replace("|", "#"), "utf-8")
    result = workshop.sweep(*arguments)
    assert f"file chat_template={template}" in result.stderr
    assert "from an earlier run" not in result.stderr


def test_other_code_or_libraries_start_anew(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.swept()
    edited = {"code of harness/models/score/scorer.py": "other"}
    code, versions = identity.code, identity.version
    monkeypatch.setattr(identity, "code", lambda *modules: code(*modules) | edited)
    monkeypatch.setattr(
        identity, "version", lambda name: "9.9" if name == "torch" else versions(name)
    )
    result = workshop.sweep()
    now = "other code (harness/models/score/scorer.py)"
    assert f"version of dogerm: {versions('dogerm')} -> {now}" in result.stderr
    assert f"version of torch: {torch.__version__} -> 9.9" in result.stderr
    assert "from an earlier run" not in result.stderr


def test_a_changed_row_is_measured_anew_and_the_other_task_is_not(workshop: Workshop) -> None:
    """One word of one answer of one task."""
    workshop.swept()
    before = workshop.measured()
    rows = pairs("proof", 10)
    rows[7]["rejected"] += " Paris"
    workshop.write_task("proof", rows)
    result = workshop.sweep()
    assert result.exit_code == 0, result.output
    assert "proof is measured anew: its rows, its settings" in result.stderr
    assert "chosen is measured anew" not in result.stderr
    after = workshop.measured()
    assert {place for place in after if after[place] != before.get(place)} == {
        place for place in after if place.endswith("/report/proof")
    }


def test_a_changed_setting_of_a_task_is_measured_anew(workshop: Workshop) -> None:
    workshop.swept()
    workshop.write_task("chosen", pairs("chosen", 12), "metadata: {weight: 3}\n")
    result = workshop.sweep()
    assert "chosen is measured anew" in result.stderr
    assert result.stderr.count("from an earlier run") == len(workshop.content()["reported"])


def test_data_that_only_moved_is_not_measured_anew(workshop: Workshop) -> None:
    workshop.swept()
    before = workshop.measured()
    moved = workshop.folder / "moved"
    moved.mkdir()
    for name in ("chosen.jsonl", "chosen.yaml"):
        (workshop.folder / name).rename(moved / name)
    task = moved / "chosen.yaml"
    text = task.read_text("utf-8")
    task.write_text(text.replace(str(workshop.folder / "chosen"), str(moved / "chosen")), "utf-8")
    workshop.swept("--select", str(task))
    assert workshop.measured() == before


def test_a_reward_that_is_no_number_ends_in_one_line(
    workshop: Workshop, tokenizer: Any, small_config: Any
) -> None:
    """The message says at which weights; what was measured before is kept and used."""
    model = save_language_model(workshop.folder / "huge", tokenizer, small_config, 3)
    tensors = load_file(model / "model.safetensors")
    for name in tensors:
        if "q_proj" in name or "k_proj" in name:
            tensors[name] = torch.full_like(tensors[name], 1e30)
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    workshop.models = [workshop.models[0], model]
    workshop.write_recipe()
    result = workshop.sweep()
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert "merged with weights [0.5]" in line
    assert "is nan" in line
    assert list(workshop.measured()) == ["0/select/chosen"]
    assert "from an earlier run" in workshop.sweep().stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of_one_mebibyte(tmp_path / "disk") as folder:
        yield folder


def test_a_full_disk_ends_in_one_line_and_the_sweep_goes_on(
    workshop: Workshop, small_disk: Path
) -> None:
    """The disk fills in the middle; after making room, what is finished is used."""
    whole = workshop.swept("--weight", "0:1:0.125")
    size = sum(file.stat().st_size for file in (workshop.out / "results").rglob("*.js*"))
    workshop.out = small_disk / "out"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "ballast").write_bytes(bytes(free - size // 2))
    result = workshop.sweep("--weight", "0:1:0.125")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith(f"Error: {workshop.out}: No space left on device; ")
    assert "run the same command again" in line
    kept = workshop.measured()
    assert 0 < len(kept) < 9
    (small_disk / "ballast").unlink()
    assert figures(workshop.swept("--weight", "0:1:0.125")) == figures(whole)
    after = workshop.measured()
    assert {place: after[place] for place in kept} == kept
    left = [path.name for path in workshop.out.rglob(".*") if path.name != ".lock"]
    assert not left


def after_some(process: warm.Process, count: int) -> None:
    """Read its progress until so many measurements are finished."""
    for line in process.stderr:
        count -= " λ = " in line
        if count == 0:
            return
    pytest.fail("it ended too early")


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_as_if_nothing_had_been(
    workshop: Workshop,
) -> None:
    """Meanwhile nobody else may work in its folder."""
    weights = ("--weight", "0:1:0.02")
    process = workshop.start(*weights)
    try:
        after_some(process, 3)
        process.send_signal(signal.SIGSTOP)
        refused = workshop.sweep(*weights)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1] == (
        f"Error: {workshop.out}: another run works in this folder; wait for it, or name another "
        "with -o"
    )
    before = workshop.measured()
    assert 3 <= len(before) < 51
    result = workshop.sweep(*weights)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("from an earlier run") == len(before)
    after = workshop.measured()
    assert {place: after[place] for place in before} == before
    resumed = figures(workshop.content())
    shutil.rmtree(workshop.out)
    assert figures(workshop.swept(*weights)) == resumed


@pytest.mark.slow
def test_stopped_by_ctrl_c_it_leaves_no_half_measurement(workshop: Workshop) -> None:
    weights = ("--weight", "0:1:0.02")
    process = workshop.start(*weights)
    try:
        after_some(process, 3)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate()
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.returncode == 130
    assert "Aborted" not in rest
    assert "Traceback" not in rest
    assert "stopped; the same command goes on" in rest
    hidden = [path.name for path in workshop.out.rglob(".*") if path.name != ".lock"]
    assert not hidden
    before = workshop.measured()
    result = workshop.sweep(*weights)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("from an earlier run") == len(before) >= 3


def test_strangers_end_in_one_line(workshop: Workshop, language_model: Path) -> None:
    """Before a row is scored; the recipe's switch lets them through."""
    stranger = Path(shutil.copytree(language_model, workshop.folder / "stranger"))
    state = load_file(stranger / "model.safetensors")
    noise = torch.Generator().manual_seed(3)
    state = {n: t.std() * torch.randn(t.shape, generator=noise) for n, t in state.items()}
    save_file(state, stranger / "model.safetensors", metadata={"format": "pt"})
    workshop.models = [workshop.models[0], stranger]
    workshop.write_recipe()
    result = workshop.sweep()
    assert result.exit_code == 1 and not workshop.measured()
    (line,) = [one for one in result.output.splitlines() if one.startswith("Error: ")]
    assert "no relative of the reward model's" in line and "allow_unrelated" in line
    workshop.write_recipe(parameters={"allow_unrelated": True})
    assert len(workshop.swept("--weight", "0.5")["points"]) == 2


def test_one_standard_error_takes_the_smaller_weight(workshop: Workshop) -> None:
    rows = pairs("chosen", 6, start=8)
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    workshop.write_task("chosen", [*pairs("chosen", 6), *turned])
    found = workshop.swept("--weight", "0.5,0.75", "--rule", "one-standard-error")
    zero, small, large = found["points"]
    assert found["rule"] == "one-standard-error"
    assert (found["best"], found["chosen"]) == (2, 1)
    assert small["score"] < large["score"] <= small["score"] + large["stderr"]
    assert zero["score"] + large["stderr"] < large["score"]
    assert [one["label"] for one in found["reported"]] == ["0", "0.5", "0.75"]
    assert (found["proof"]["a"], found["proof"]["b"]) == ("0", "0.5")


def test_a_metric_whose_small_values_are_better(workshop: Workshop) -> None:
    found = workshop.swept("--metric", "ties")
    assert found["higher_is_better"] is False
    assert found["chosen"] == 0  # there are no ties at all: the smallest weight
    assert found["notes"][0].startswith("the choice is λ = 0, the reward model itself")
    assert found["proof"] is None


def test_best_of_n_chooses_and_is_proven(workshop: Workshop) -> None:
    """N is the task's own; other tasks of candidates serve as well as pairs."""
    for name, start in (("chosen", 0), ("proof", 50)):
        rows = [
            {
                "prompt": f"{n} plus {n}?",
                "responses": [f"It is {n + k}, {k} please" for k in range(4)],
                "labels": [k == n % 4 for k in range(4)],
            }
            for n in range(start, start + 8)
        ]
        task = workshop.write_task(name, rows)
        text = f"task: {name}\nclass: !function harness.tasks.bon.task.BestOfN\ntest_split: test\n"
        data = f"dataset_kwargs: {{benchmark: {name}}}\nmetadata: {{data_dir: {workshop.folder}}}\n"
        task.write_text(text + data, "utf-8")
    found = workshop.swept("--metric", "best_of_n@4", "--weight", "0:1:0.25")
    assert found["metric"] == "best_of_n@4"
    assert found["margins"] is None
    assert not (workshop.out / "margins.png").exists()
    assert found["points"][0]["items"] == 8


def test_rows_that_lost_their_beginning_are_told(workshop: Workshop) -> None:
    found = workshop.swept("--weight", "1", "--model_args", "max_length=16")
    assert found["notes"][-2:] == [
        f"{count} rows of {task} have a conversation that is longer than the model takes and lost "
        "its beginning"
        for count, task in ((12, "chosen"), (10, "proof"))
    ]


def test_two_tasks_choose_by_their_mean(workshop: Workshop) -> None:
    other = workshop.write_task("other", pairs("other", 6))
    tasks = f"{workshop.folder / 'chosen.yaml'},{other}"
    found = workshop.swept("--select", tasks)
    assert found["select"] == ["chosen", "other"]
    for point in found["points"]:
        by_name = {section["name"]: section for section in point["sections"]}
        assert point["score"] == (by_name["chosen"]["score"] + by_name["other"]["score"]) / 2
        assert point["items"] == 18


def test_a_divided_task_chooses_and_reports(workshop: Workshop) -> None:
    """Its two parts are kept apart, and --report adds to what is left of it."""
    rows = pairs("chosen", 30)
    for number, row in enumerate(rows):
        row["topic"] = "ab"[number % 2]
    task = workshop.write_task("chosen", rows, "columns: {section: topic}\n")
    given = ("--split-select", "0.4", "--select", str(task))
    found = workshop.swept(*given)
    assert (found["select"], found["report"], found["split"]) == (
        ["chosen"],
        ["chosen", "proof"],
        0.4,
    )
    chosen = found["points"][0]["items"]
    (rest,) = (s["items"] for s in found["reported"][0]["sections"] if s["name"] == "chosen")
    assert 0 < chosen < rest
    assert chosen + rest == 30
    names = [section["name"] for section in found["proof"]["sections"]]
    assert names == ["chosen", "chosen-a", "chosen-b", "proof"]
    assert any("only the prompts that did not choose" in note for note in found["notes"])
    before = workshop.measured()
    assert figures(workshop.swept(*given)) == figures(found)
    assert workshop.measured() == before
    result = workshop.sweep("--split-select", "0.5", "--select", str(task))
    assert "chosen is measured anew" in result.stderr
