"""A command forked by `tests.warm` is the command started anew."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests import warm
from tests.harness.conftest import preference_rows


def both(folder: Path, *command: str) -> list[subprocess.CompletedProcess[str]]:
    """The command in a new process and in a warm one, each in a folder of its own."""
    for name in ("cold", "warm"):
        (folder / name).mkdir(parents=True)
    script = str(Path(sys.executable).with_name(command[0]))
    cold = subprocess.run(
        [script, *command[1:]],
        cwd=folder / "cold",
        env={**os.environ, **warm.START},
        capture_output=True,
        text=True,
    )
    return [cold, warm.run(*command, cwd=folder / "warm")]


def messages(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What it said, but for the progress, which tells the time."""
    return [line for line in done.stderr.splitlines() if "%|" not in line]


@pytest.mark.slow
def test_mergekit_yaml(tmp_path: Path) -> None:
    """The same bytes and words, of a merge and of a refused one; with the hook in both."""
    import merging
    import tiny

    rm, lm = tiny.save_pair(tmp_path, "llama")
    for path in (rm, lm):
        merging.save_tokenizer(path, merging.words(96))
    recipe = merging.write(tmp_path, merging.recipe(rm, (lm, 0.3)))
    cold, forked = both(tmp_path / "good", "mergekit-yaml", str(recipe), "out")
    assert cold.returncode == forked.returncode == 0, forked.stderr
    assert cold.stdout == forked.stdout
    assert "head kept: " in cold.stderr and messages(cold) == messages(forked)
    digests = [merging.digest(tmp_path / "good" / name / "out") for name in ("cold", "warm")]
    assert digests[0] == digests[1] != {}
    (lm / "model.safetensors").write_bytes(b"damaged")
    cold, forked = both(tmp_path / "bad", "mergekit-yaml", str(recipe), "out", "--quiet")
    assert cold.returncode == forked.returncode == 1
    assert (cold.stdout, cold.stderr) == (forked.stdout, forked.stderr)
    assert "Error: " in cold.stderr


@pytest.mark.slow
def test_lm_eval(reward_model: Path, write_rows: Callable[..., Path], tmp_path: Path) -> None:
    """The same table, rewards and names of what is logged."""
    data = write_rows(preference_rows("hep-go", 5))
    command = ["lm_eval", "run", "--model", "reward", "--model_args", f"pretrained={reward_model}"]
    command += ["--device", "cpu", "--tasks", "rewardbench-hep-go", "--log_samples"]
    command += ["--metadata", json.dumps({"data_dir": str(data)}), "--output_path", "out"]
    cold, forked = both(tmp_path / "good", *command)
    assert cold.returncode == forked.returncode == 0, forked.stderr
    assert "rewardbench-hep-go" in cold.stdout and cold.stdout == forked.stdout
    written = []
    for name in ("cold", "warm"):
        (results,) = (tmp_path / "good" / name).rglob("results_*.json")
        (samples,) = (tmp_path / "good" / name).rglob("samples_*.jsonl")
        content = json.loads(results.read_text())
        kept = {key: content[key] for key in ("results", "configs", "config", "versions")}
        written.append((content.keys(), kept, samples.read_text()))
    assert written[0] == written[1]
    cold, forked = both(tmp_path / "bad", *command, "--limit", "nan")
    assert cold.returncode == forked.returncode == 1
    errors = [
        [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        for done in (cold, forked)
    ]
    assert errors[0] == errors[1] and len(errors[0]) == 1
    assert "Traceback" not in cold.stderr + forked.stderr


@pytest.mark.parametrize("name", ["HF_HOME", "PYTHONHASHSEED", "OMP_NUM_THREADS", "ANYTHING"])
def test_a_variable_read_at_import_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        warm.run("lm_eval", "ls", environment={name: "7"})


CHILD = """
import os, signal, sys, time
what = sys.argv[1]
print(os.getpid(), "torch" in sys.modules, os.getcwd(), os.environ.get("RANK"), sys.stdin.read())
sys.stdout.flush()
{"ends": sys.exit, "dies": lambda _: os.kill(os.getpid(), 15), "goes on": time.sleep}[what](7)
time.sleep(600)
"""
PARENT = """
import json, os, subprocess, sys
def start(*arguments, **environment):
    command = [sys.executable, *arguments]
    environment = {**os.environ, "RANK": "1", **environment}
    return subprocess.Popen(command, env=environment, stdin=-1, stdout=-1, text=True)
found = {}
for name, environment in {"ends": {}, "dies": {}, "other": {"ANYTHING": "7"}}.items():
    process = start("-m", "child", "ends" if name == "other" else name, **environment)
    found[name] = [*process.communicate("told")[0].split(), process.returncode]
process = start("-c", "import sys; print(sys.executable, 'torch' in sys.modules, end='')")
found["code"] = [*process.communicate()[0].split(), process.returncode]
process = start("-u", "-m", "child", "goes on")
process.stdin.close()
found["killed"] = [int(process.stdout.readline().split()[0])]
process.kill()
found["killed"].append(process.wait())
print(json.dumps(found))
"""


def test_what_a_fork_starts_is_a_fork(tmp_path: Path) -> None:
    """With the folder, the input and the end that it was started with; else it is started anew."""
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "parent.py").write_text(PARENT)
    done = warm.run("-m", "parent", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    pids = [int(found[name].pop(0)) for name in ("ends", "dies", "other", "killed")]
    assert len(set(pids)) == 4
    told = [str(tmp_path), "1", "told"]
    assert found["ends"] == ["True", *told, 7]
    assert found["dies"] == ["True", *told, -signal.SIGTERM]
    assert found["other"] == ["False", *told, 7]
    assert found["code"] == [sys.executable, "False", 0]
    assert found["killed"] == [-signal.SIGKILL]
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pids[3]).wait(60)
