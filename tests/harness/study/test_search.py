"""`dogerm search` on tiny models: what is tried, what is chosen, what is never taken twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from harness.show import read as report
from tests.harness.study.searching import Searching, trials
from tests.harness.study.sweeping import pairs, save_language_model

ANOTHER = "a new study"


@pytest.fixture
def folder(tmp_path: Path, reward_model: Path, language_model: Path) -> Searching:
    return Searching(tmp_path, [reward_model, language_model])


@pytest.fixture(scope="module")
def second_model(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, small_config: Any
) -> Path:
    return save_language_model(tmp_path_factory.mktemp("second"), tokenizer, small_config, 2)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_a_search_over_groups(folder: Searching, sampler: str) -> None:
    """The best ten on the selection rows stand beside what they are worth on the others."""
    count = 12 if sampler == "tpe" else 5
    options = "--sampler", sampler, "--groups", "parts", "--trials", str(count)
    folder.draws = sampler == "tpe"
    result = folder.search(*options)
    assert result.exit_code == 0, result.output
    found = report.read(folder.out / "search.json").as_dict()  # it is of the form
    assert found["kind"] == "search" and found["sampler"] == sampler
    assert [trial["number"] for trial in found["trials"]] == list(range(count))
    for trial in found["trials"]:
        assert set(trial["params"]) == {"embeddings", "attention", "mlp", "norms"}
        assert trial["state"] == "complete" and min(trial["params"].values()) >= 0
    ranked = sorted(found["trials"], key=lambda trial: (-trial["score"], trial["number"]))
    assert [top["number"] for top in found["top"]] == [trial["number"] for trial in ranked[:10]]
    assert [top["select"] for top in found["top"]] == [trial["score"] for trial in ranked[:10]]
    assert len({top["report"] for top in found["top"]}) > 1
    best = f"trial {found['top'][0]['number']}"
    assert (found["proof"]["a"], found["proof"]["b"]) == ("0", best)
    assert found["proof_baseline"]["a"] == found["baseline"]["label"]
    assert found["proof"]["sections"][0]["b"] == found["top"][0]["report"]
    assert found["proof_baseline"]["sections"][0]["a"] == found["baseline"]["report"]
    (first,) = (line for line in result.stdout.splitlines() if line.startswith(f"{best}  "))
    assert f"{found['top'][0]['report']:.3f}" in first
    assert (folder.out / "trials.png").stat().st_size > (10_000 if folder.draws else 0)


def test_the_same_seed_is_the_same_search(folder: Searching) -> None:
    options = "--groups", "layers:2", "--trials", "3"
    first = folder.searched(*options)
    shutil.rmtree(folder.out)
    again = folder.searched(*options)
    assert trials(again) == trials(first) and again["top"] == first["top"]


def test_a_grid_has_the_scores_of_a_sweep(folder: Searching) -> None:
    """And so has the plain sweep that is the baseline; nothing is measured on the report rows
    but the best ten and the baseline."""
    swept = folder.swept("--weight", "0:1:0.1")
    wanted = [(point["weights"][0], point["score"], point["stderr"]) for point in swept["points"]]
    folder.out = folder.folder / "search"
    found = folder.searched("--sampler", "grid", "--baseline", "0:1:0.1")
    assert [(t["params"]["weight"], t["score"], t["stderr"]) for t in found["trials"]] == wanted
    best = swept["points"][swept["best"]]
    assert (found["baseline"]["label"], found["baseline"]["select"]) == (
        best["label"],
        best["score"],
    )
    assert found["top"][0]["params"]["weight"] == best["weights"][0]
    reported = {path.parents[1].name for path in folder.out.glob("results/*/report/proof")}
    assert reported == {"0", best["label"], *(f"{t['params']['weight']:g}" for t in found["top"])}


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_several_domain_models_share_what_the_reward_model_leaves(
    folder: Searching, second_model: Path, sampler: str
) -> None:
    folder.models = [*folder.models, second_model]
    folder.write_recipe()
    more = ("--step", "0.5", "--high", "0.5") if sampler == "grid" else ("--trials", "6")
    found = folder.searched("--sampler", sampler, "--groups", "layers:2", *more)
    first, second = (Path(model).name for model in found["domain_models"])
    assert len(found["trials"]) == (9 if sampler == "grid" else 6)
    for trial in found["trials"]:
        for group in ("layers-1-of-2", "layers-2-of-2"):
            share = trial["params"][f"{group}/{first}"] + trial["params"][f"{group}/{second}"]
            assert 0 <= share <= 1 + 1e-9
    assert found["baseline"]["weights"][0] == found["baseline"]["weights"][1]
    assert report.read(folder.out).kind == "search"


def test_best_yml_is_what_was_measured(folder: Searching) -> None:
    """mergekit-yaml writes it, and lm_eval's own evaluation gives the scores, on both sides."""
    from lm_eval.evaluator import evaluate
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    from harness.models.reward import Reward
    from harness.study import rows

    found = folder.searched("--groups", "layers:2+parts", "--trials", "6")
    text = (folder.out / "best.yml").read_text("utf-8")
    assert text == found["best_recipe"] and "trial " in text.splitlines()[0]
    config = MergeConfiguration.model_validate(yaml.safe_load(text))
    merged = folder.folder / "merged"
    run_merge(config, str(merged), MergeOptions(quiet=True))
    model = Reward(str(merged), batch_size="8")
    best = found["top"][0]
    for name, side in (("chosen", "select"), ("proof", "report")):
        (loaded,) = rows.load([str(folder.folder / f"{name}.yaml")], [])
        results: Any = evaluate(model, loaded.loaded)
        assert results["results"][name]["accuracy,none"] == best[side]
        assert results["results"][name]["accuracy_stderr,none"] == best[f"{side}_stderr"]


@pytest.mark.parametrize("prune", ["median", "halving", "race"])
def test_pruning_scores_fewer_rows(folder: Searching, prune: str) -> None:
    """A pruned trial has cost a part of the rows only, a complete one each row once."""
    folder.write_task("chosen", pairs("chosen", 32))
    found = folder.searched("--groups", "parts", "--trials", "12", "--prune", prune)
    rows = 2 * 32  # each is two conversations
    states = {trial["state"] for trial in found["trials"]}
    assert states == {"complete", "pruned"}
    for trial in found["trials"]:
        assert trial["scored"] == rows * trial["share"]
        assert (trial["share"] == 1) == (trial["state"] == "complete")
    numbers = {trial["number"] for trial in found["trials"] if trial["state"] == "pruned"}
    assert not numbers & {top["number"] for top in found["top"]}


@pytest.mark.parametrize("prune", ["halving", "race"])
def test_a_pruned_search_s_complete_trials_have_the_scores_of_all_rows(
    folder: Searching, prune: str
) -> None:
    folder.write_task("chosen", pairs("chosen", 32))
    grid = "--sampler", "grid", "--step", "0.25"
    whole = folder.searched(*grid)
    shutil.rmtree(folder.out)
    pruned = folder.searched(*grid, "--prune", prune)
    scores = {trial["number"]: trial["score"] for trial in whole["trials"]}
    complete = [trial for trial in pruned["trials"] if trial["state"] == "complete"]
    assert complete and all(trial["score"] == scores[trial["number"]] for trial in complete)


@pytest.mark.slow
@pytest.mark.parametrize("prune", ["median", "race"])
def test_a_killed_search_finds_what_an_uninterrupted_one_finds(
    folder: Searching, prune: str
) -> None:
    options = "--groups", "parts", "--trials", "8", "--prune", prune
    expected = trials(folder.searched(*options))
    shutil.rmtree(folder.out)
    process = folder.start_search(*options)
    for line in process.stderr:
        if line.startswith("trial 4:"):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate()
    assert not (folder.out / "search.json").exists()
    result = folder.search(*options)
    assert result.exit_code == 0, result.output
    assert trials(folder.found()) == expected
    again = [line for line in result.stderr.splitlines() if line.startswith("trial ")]
    assert not any(line.startswith(f"trial {number}:") for line in again for number in range(5))
    assert " on the select rows" not in result.stderr  # the plain sweep is taken as it is


def test_more_trials_go_on_from_those_there_are(folder: Searching) -> None:
    first = folder.searched("--groups", "layers:2", "--trials", "3")
    result = folder.search("--groups", "layers:2", "--trials", "5")
    assert trials(folder.found())[:3] == trials(first)
    assert [
        line.split(":")[0]
        for line in result.stderr.splitlines()
        if " left" in line or line.startswith(("trial 3:", "trial 4:"))
    ] == ["trial 3", "trial 4"]


@pytest.mark.parametrize("what", ["recipe", "rows", "seed", "bounds"])
def test_a_changed_input_starts_a_new_study_and_says_why(folder: Searching, what: str) -> None:
    """No trial of the earlier one is taken for one of this."""
    options = ["--groups", "layers:2", "--trials", "2"]
    folder.searched(*options)
    said = {"recipe": "recipe", "rows": "rows of chosen", "seed": "seed: 0 -> 1", "bounds": "λ"}
    if what == "recipe":
        folder.write_recipe(dtype="bfloat16")
    elif what == "rows":
        folder.write_task("chosen", pairs("chosen", 13))
    elif what == "seed":
        options += ["--seed", "1"]
    else:
        options += ["--high", "0.5"]
    result = folder.search(*options)
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.stderr.splitlines() if ANOTHER in line)
    assert said[what] in line
    storage = f"sqlite:///{folder.out}/search.db"
    studies = optuna.get_all_study_summaries(storage)
    assert [study.n_trials for study in studies] == [2, 2]
    if what == "seed":
        assert ANOTHER not in folder.search(*options).stderr  # and it is found again


def test_machines_share_a_storage(folder: Searching) -> None:
    """Each in a folder of its own; a trial is run by one of them."""
    shared = "--storage", f"sqlite:///{folder.folder}/shared.db"
    first = folder.searched("--trials", "4", *shared)
    folder.out = folder.folder / "second"
    second = folder.searched("--trials", "7", *shared)
    assert second["storage"] == shared[1] and not (folder.out / "search.db").exists()
    assert trials(second)[:4] == trials(first) and len(second["trials"]) == 7
    (study,) = optuna.get_all_study_summaries(shared[1])
    owners = [
        t.user_attrs["owner"]
        for t in optuna.load_study(study_name=study.study_name, storage=shared[1]).trials
    ]
    assert owners[:4] == [owners[0]] * 4 and owners[4:] == [owners[4]] * 3
    assert owners[0] != owners[4]


def test_time_over_is_no_failure(folder: Searching) -> None:
    """What is there by then is the result; without any it is told."""
    folder.searched("--trials", "2")
    found = folder.searched("--trials", "50", "--timeout", "0.000001")
    assert len(found["trials"]) == 2
    shutil.rmtree(folder.out)
    result = folder.search("--timeout", "0.000001")
    assert result.exit_code == 1
    assert "no trial was completed" in result.stderr and "--timeout" in result.stderr


def test_the_rest_of_the_prompts_reports(folder: Searching) -> None:
    task = str(folder.folder / "chosen.yaml")
    folder.write_task("chosen", pairs("chosen", 30))
    result = folder.search("--split-select", "0.5", "--trials", "3", "--report", "")
    assert result.exit_code == 0, result.output
    found = folder.found()
    assert found["select"] == found["report"] == ["chosen"] and found["split"] == 0.5
    items = found["proof"]["sections"][0]["items"]
    (point,) = (folder.out / "results").glob("0/select/chosen/samples_*")
    assert items + len(point.read_text("utf-8").splitlines()) == 30
    shared = folder.search("--report", task)
    assert shared.exit_code == 1 and "would prove nothing" in shared.stderr


def test_a_merge_that_can_not_be_scored_is_a_failed_trial(
    folder: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others count; where all fail, the first mistake is told."""
    from harness.study.worker import Outcome, Worker

    run = Worker.run

    def fails(self: Worker, job: Any) -> Outcome:
        bad = job.label in failing
        return Outcome(job, error="the reward of task chosen is nan") if bad else run(self, job)

    monkeypatch.setattr(Worker, "run", fails)
    failing = {"trial 1"}
    found = folder.searched("--trials", "4")
    assert [trial["state"] for trial in found["trials"]] == ["complete", "failed"] + [
        "complete"
    ] * 2
    assert any("trials that failed: 1" in note and "is nan" in note for note in found["notes"])
    shutil.rmtree(folder.out)
    failing = {f"trial {number}" for number in range(9)}
    result = folder.search("--trials", "9")
    assert result.exit_code == 1
    assert "5 trials failed one after another: the reward of task chosen is nan" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--groups", "heads"], "groups: 'heads' is no grouping"),
        (["--groups", "layers:9"], "has 2 layers"),
        (["--sampler", "grid", "--groups", "layers:2+parts"], "points"),
        (["--sampler", "grid", "--trials", "3"], "leave --trials out"),
        (["--step", "0.1"], "--step is of --sampler grid"),
        (["--workers", "2"], "--workers is of --ray"),
        (["--baseline", "0:2:1"], "--baseline 0:2:1: 2 is not in 0..1"),
        (["--metric", "bleu"], "has no metric 'bleu'"),
        (["--storage", "nowhere"], "--storage nowhere: "),
        (["--low", "0.5", "--high", "0.2"], "0 <= LOW < HIGH <= 1"),
        (["--report", ""], "nothing to prove the choice on"),
    ],
)
def test_mistakes_are_told_in_one_line(folder: Searching, options: list[str], said: str) -> None:
    """Before anything is loaded or written."""
    result = folder.search(*options)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and said in line
    assert not folder.out.exists()


def test_without_optuna_the_way_out_is_told(
    folder: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    result = folder.search()
    assert result.exit_code == 1 and "pip install 'dogerm[search]'" in result.stderr
