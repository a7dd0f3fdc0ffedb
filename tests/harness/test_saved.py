"""Runs of lm-eval that were not saved in full are refused, and end with a line and status 1."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner

from harness.bon.samples import read_run
from harness.card import runs as card_runs
from harness.cli import main
from harness.compare.runs import find_run
from harness.errors import HarnessError

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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer: object) -> Path:
    folder = tmp_path_factory.mktemp("models")
    reward, _ = tiny.save_pair(folder, "llama", vocab_size=400)
    tokenizer.save_pretrained(reward)  # type: ignore[attr-defined]
    return reward


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("can't mount a tmpfs here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def lm_eval(model: Path, output: Path, largest: int | None = None) -> subprocess.CompletedProcess:
    """The installed command, on five pairs; no file of it may grow beyond `largest` bytes."""

    def limited() -> None:
        if largest is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    arguments = ["--model", "reward", "--model_args", f"pretrained={model},device=cpu"]
    arguments += ["--tasks", "minipref-chat", "--limit", "5", "--log_samples"]
    return subprocess.run(
        [str(Path(sys.executable).with_name("lm_eval")), *arguments, "--output_path", str(output)],
        capture_output=True,
        text=True,
        preexec_fn=limited,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "DOGERM_AUTOLOAD": "1", "HF_HOME": str(output)},
    )


def test_a_run_that_is_saved(models: Path, tmp_path: Path) -> None:
    """Nothing is said of it, and it can be read."""
    done = lm_eval(models, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    (folder,) = {path.parent for path in (tmp_path / "out").rglob("samples_*")}
    assert list(find_run(folder).leaves) == ["minipref-chat"]


@pytest.mark.parametrize("suffix", ["", ".json"])
@pytest.mark.parametrize("largest", [4096, 12000])
def test_files_that_may_not_grow(models: Path, tmp_path: Path, largest: int, suffix: str) -> None:
    """As on a full disk: the tables are printed, then one line, status 1."""
    done = lm_eval(models, tmp_path / f"out{suffix}", largest)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "could not be saved" in line and str(tmp_path) in line
    assert "|minipref-chat|" in done.stdout.replace(" ", "")


def test_a_full_disk(models: Path, small_disk: Path) -> None:
    (small_disk / "fill").write_bytes(bytes(16384))
    done = lm_eval(models, small_disk / "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "could not be saved" in done.stderr
