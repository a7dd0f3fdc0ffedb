"""Runs of lm-eval that were not saved in full are refused, and end with a line and status 1."""

from __future__ import annotations

import errno
import json
import types
from pathlib import Path

import pytest
from click.testing import CliRunner
from lm_eval.loggers import EvaluationTracker

from harness import patches
from harness.bon.samples import read_run
from harness.commands.cli import main
from harness.errors import HarnessError
from harness.runs.results import find_run
from harness.show.card import of_runs as card_runs

DATE = "2026-01-01T00-00-00.000000"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Results of one task of three documents under two filters, as lm-eval writes them."""
    results = {
        "results": {"gen": {"alias": "gen", "acc,none": 1.0, "acc,strict": 1.0, "sample_len": 3}},
        "configs": {"gen": {}},
        "config": {"model": "hf", "model_args": {"pretrained": "m"}},
        "n-samples": {"gen": {"original": 9, "effective": 3}},
        "task_hashes": {"gen": "abc"},
    }
    (tmp_path / f"results_{DATE}.json").write_text(json.dumps(results))
    lines = [
        {
            "doc_id": number,
            "doc": {"question": "q"},
            "resps": [["a", "b"]],
            "filtered_resps": ["a"],
            "filter": name,
            "metrics": ["acc"],
            "acc": 1.0,
            "doc_hash": str(number),
        }
        for name in ("none", "strict")
        for number in range(3)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / f"samples_gen_{DATE}.jsonl").write_text(text)
    return tmp_path


def cut(path: Path, lines: int, more: int = 0) -> None:
    text = path.read_text()
    end = sum(len(line) for line in text.splitlines(keepends=True)[:lines])
    path.write_text(text[: end + more])


@pytest.mark.parametrize(
    ("lines", "more", "said"),
    [(0, 0, "is empty"), (4, 0, "has 4 lines, expected 6"), (5, 9, "is cut in line 6")],
)
def test_samples_that_were_cut(saved: Path, lines: int, more: int, said: str) -> None:
    """At a line's end, too, which reads like a shorter run; by compare and by bon."""
    samples = saved / f"samples_gen_{DATE}.jsonl"
    assert find_run(saved).leaves == {"gen": samples}
    assert len(read_run(samples, filter="none").samples) == 3
    cut(samples, lines, more)
    for given in (saved, samples, saved / f"results_{DATE}.json"):
        with pytest.raises(HarnessError, match=said) as told:
            find_run(given)
        assert str(samples) in str(told.value)
    with pytest.raises(HarnessError, match=said):
        read_run(samples, filter="none")


@pytest.mark.parametrize("size", [0, 40])
def test_results_that_were_cut(saved: Path, size: int) -> None:
    """Named by every reader."""
    results = saved / f"results_{DATE}.json"
    results.write_text(results.read_text()[:size])
    said = f"{results.name} is empty" if size == 0 else f"{results.name} is not JSON"
    for read in (
        lambda: find_run(saved),
        lambda: read_run(saved / f"samples_gen_{DATE}.jsonl", filter="none"),
        lambda: card_runs.read([results], saved),
    ):
        with pytest.raises(HarnessError, match=said):
            read()
    picture = saved / "curves.png"
    done = CliRunner().invoke(main, ["bon", "plot", str(saved), "-o", str(picture)])
    assert done.exit_code == 1 and results.name in done.output and not picture.exists()


def test_empty_results_of_the_latest_run(saved: Path) -> None:
    """Its samples could not be made at all: the older run is not read for it."""
    (saved / "results_2027-01-01T00-00-00.000000.json").touch()
    with pytest.raises(HarnessError, match=r"results_2027.* is empty"):
        find_run(saved)


def test_results_without_all_their_samples(saved: Path) -> None:
    """Another task's samples are not taken for the whole run."""
    results = saved / f"results_{DATE}.json"
    content = json.loads(results.read_text())
    content["task_hashes"]["other"] = "def"
    content["n-samples"]["other"] = {"original": 2, "effective": 2}
    content["results"]["other"] = {"acc,none": 1.0}
    results.write_text(json.dumps(content))
    with pytest.raises(HarnessError, match=r"samples_other_.* is missing, expected 2 lines"):
        find_run(saved)


def test_samples_alone(saved: Path) -> None:
    """Without a results file there is nothing to hold them against."""
    (saved / f"results_{DATE}.json").unlink()
    assert find_run(saved).leaves


@pytest.mark.parametrize(("source", "ours"), [("reward", True), ("hf", False)])
@pytest.mark.parametrize("full", [False, True])
def test_a_run_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, ours: bool, full: bool
) -> None:
    """lm-eval's own writer, which only warns; the command then ends with an error."""
    tracker = EvaluationTracker(output_path=str(tmp_path))
    tracker.general_config_tracker.log_experiment_args(source, "model=model", None, None, False)

    def no_room(self: Path, *_: object, **__: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    def work(_: object) -> None:
        with monkeypatch.context() as patch:
            if full:
                patch.setattr(Path, "write_text", no_room)
            tracker.save_results_aggregated(results={"results": {}, "configs": {}}, samples=None)

    command = types.SimpleNamespace(Run=types.SimpleNamespace(_execute=work))
    patches.unsaved_results_fail(command)  # type: ignore[arg-type]
    execute = command.Run._execute.__func__
    if ours and full:
        with pytest.raises(HarnessError, match=r"could not be saved.*results_.* is empty"):
            execute(None)
    else:
        execute(None)
