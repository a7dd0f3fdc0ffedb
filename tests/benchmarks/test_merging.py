# SPDX-License-Identifier: Apache-2.0
"""Merging: time against mergekit's own method, a copy and the usual way; memory; growth."""

from __future__ import annotations

import cProfile
import functools
import math
import os
import pstats
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.benchmarks.conftest import SmolLM2
from tests.benchmarks.measure import Child, Pairs, alternate, in_process
from tests.benchmarks.synthetic import synthetic
from tests.benchmarks.table import Figures

SECTION = "Merging"
WEIGHT = 0.4
PEER = Path(__file__).parent / "peers" / "merging.py"
# Why the bars of the smallest model are hard: what does not grow with it, and what a copy need not.
WHY = (
    "of 0.31 s in bfloat16, 2 threads: formula and its page faults 0.11, write 0.05, planning "
    "0.02, the classes of both inputs and of the output built to check names and shapes 0.05, "
    "opening and unmapping 0.03, reading the output back 0.02; the rest is mergekit's tasks"
)
Run = Callable[[], object]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder for large files: skipped where there is no room, emptied in any case."""
    if shutil.disk_usage(tmp_path).free < 20e9:
        pytest.skip(f"{tmp_path} has less than 20 GB free")
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, int], Path]]:
    """Synthetic models by size and number, 0 for the reward model; each is written once."""
    folder = tmp_path_factory.mktemp("synthetic")

    def model(size: str, number: int) -> Path:
        path = folder / f"{size}-{number}"
        return path if path.exists() else synthetic(path, size, number, reward=number == 0)

    yield model
    shutil.rmtree(folder, ignore_errors=True)


def as_float32(model: Path, folder: Path) -> Path:
    """The same model, stored in float32."""
    shutil.copytree(model, folder)
    state = {n: t.float() for n, t in load_file(model / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def recipe(reward: Path, *others: Path) -> dict[str, Any]:
    share = WEIGHT / len(others)
    models = [{"model": str(one), "parameters": {"weight": share}} for one in others]
    method = "reward_preserving_linear"
    return {"merge_method": method, "base_model": str(reward), "models": models}


def run(content: dict[str, Any], out: Path) -> None:
    """What mergekit-yaml does once it is imported."""
    from dogerm_plugin import _autoload

    _autoload.install(force=True)
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    run_merge(MergeConfiguration.model_validate(content), str(out), MergeOptions(quiet=True))


def copy(sources: list[Path], out: Path) -> None:
    """Read all inputs and write as many bytes as the first has."""
    buffer = bytearray(1 << 20)
    with out.open("wb", buffering=0) as target:
        for number, source in enumerate(sources):
            with source.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    if number == 0:
                        target.write(memoryview(buffer)[:count])


class Timer:
    """A clock for `alternate` that leaves out the removal of what was written."""

    def __init__(self) -> None:
        self.spent = 0.0

    def __call__(self) -> float:
        return self.spent

    def timed(self, action: Callable[[Path], object], out: Path) -> Run:
        def once() -> None:
            os.sync()  # else a run waits for the disk to take what was written before it
            began = time.perf_counter()
            action(out)
            self.spent += time.perf_counter() - began
            shutil.rmtree(out) if out.is_dir() else out.unlink()

        return once


def profile(action: Callable[[Path], object], out: Path) -> list[str]:
    """Where the time goes: functions with their seconds, those below them included."""
    with cProfile.Profile() as profiler:
        action(out)
    shutil.rmtree(out)
    stats = pstats.Stats(profiler).get_stats_profile().func_profiles
    top = sorted(stats.items(), key=lambda item: -item[1].cumtime)[:40]
    return [f"{one.cumtime:.3f} s {name} ({Path(one.file_name).name})" for name, one in top]


def check_equal(out: Path, reward: Path, others: list[Path]) -> None:
    """The merged file against the formula, the head against the reward model's, to the bit."""
    merged, own = (load_file(one / "model.safetensors") for one in (out, reward))
    states = [load_file(one / "model.safetensors") for one in others]
    share = WEIGHT / len(others)
    assert set(merged) == set(own)
    for name, tensor in own.items():
        expected = tensor
        if name in states[0]:
            expected = tensor.float() * (1 - sum([share] * len(others)))
            for state in states:
                expected = expected + state[name].float() * share
        assert torch.equal(merged[name], expected.to(tensor.dtype)), name


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_graph_run(dtype: str, smollm2: SmolLM2, disk: Path, table: Figures) -> None:
    """The whole of `run_merge`, after imports."""
    reward, maths = smollm2.reward, smollm2.maths
    if dtype == "float32":
        reward, maths = (as_float32(one, disk / one.name) for one in (reward, maths))
    ours = recipe(reward, maths)
    twin = disk / "twin"  # mergekit's linear needs two models of one class
    shutil.copytree(maths, twin)
    pair = [{"model": str(m), "parameters": {"weight": 0.5}} for m in (maths, twin)]
    theirs = {"merge_method": "linear", "models": pair}
    run(ours, disk / "checked")
    check_equal(disk / "checked", reward, [maths])
    shutil.rmtree(disk / "checked")

    timer = Timer()
    mine = timer.timed(lambda out: run(ours, out), disk / "ours")
    peer = timer.timed(lambda out: run(theirs, out), disk / "peer")
    found = alternate(mine, peer, clock=timer)
    detail = {"profile": profile(lambda out: run(ours, out), disk / "profiled")}
    what = "graph run, SmolLM2-135M, against mergekit's own `linear`"
    table.add(
        SECTION, what, found.ratio, 0.5, "at most", "×", WHY, pairs=found, dtype=dtype,
        detail=detail,
    )  # fmt: skip
    files = [one / "model.safetensors" for one in (reward, maths)]
    copied = timer.timed(lambda out: copy(files, out), disk / "copy")
    found = alternate(mine, copied, clock=timer)
    what = "graph run, SmolLM2-135M, against copying its bytes (two read, one written)"
    note = f"{WHY}; input and output in the page cache"
    table.add(SECTION, what, found.ratio, 2.5, "at most", "×", note, pairs=found, dtype=dtype)


def test_whole_command(disk: Path, made: Callable[[str, int], Path], table: Figures) -> None:
    """mergekit-yaml against the usual way, a process each."""
    reward, domain = made("1.1B", 0), made("1.1B", 1)
    written = disk / "recipe.yml"
    written.write_text(yaml.safe_dump(recipe(reward, domain)), encoding="utf-8")
    outs = disk / "ours", disk / "peer"
    command: list[str | Path] = [sys.executable, "-m", "dogerm_plugin", written, outs[0], "--quiet"]
    usual: list[str | Path] = [sys.executable, PEER, reward, domain, str(WEIGHT), outs[1]]
    env = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.getcwd()}
    mine: list[Child] = []
    theirs: list[Child] = []
    for _ in range(3):
        for argv, out, taken in ((command, outs[0], mine), (usual, outs[1], theirs)):
            shutil.rmtree(out, ignore_errors=True)
            os.sync()
            taken.append(in_process(argv, env=env, timeout=90))
    a, b = (load_file(one / "model.safetensors") for one in outs)
    assert set(a) == set(b)
    assert all(torch.equal(a[name], b[name]) for name in a)
    peaks = Pairs([c.peak_bytes for c in mine], [c.peak_bytes for c in theirs], "bytes")
    seconds = Pairs([c.seconds for c in mine], [c.seconds for c in theirs])
    against = "whole command, 1.1B, against load in float32, loop, save"
    note = "three pairs, no run to warm up; imports included; equal outputs"
    table.add(
        SECTION, f"{against}: peak memory", peaks.ratio, 0.5, "at most", "×", note, pairs=peaks
    )
    table.add(SECTION, f"{against}: time", seconds.ratio, 1, "at most", "×", note, pairs=seconds)


# A size and a number of domain models; the middle one begins the second row, too.
SIZES = (("0.135B", 1), ("0.5B", 1), ("1.1B", 1))
COUNTS = (("0.5B", 2), ("0.5B", 3), ("0.5B", 4))


def test_growth(disk: Path, made: Callable[[str, int], Path], table: Figures) -> None:
    """Time by the bytes that are read and written, over sizes and numbers of domain models."""
    timer = Timer()
    points: list[tuple[str, float, float]] = []
    for size, count in (*SIZES, *COUNTS):
        reward, *others = (made(size, number) for number in range(1 + count))
        content = recipe(reward, *others)
        once = timer.timed(functools.partial(run, content), disk / "out")
        taken = []
        for _ in range(6):
            began = timer()
            once()
            taken.append(timer() - began)
        stored = [one / "model.safetensors" for one in (reward, *others, reward)]
        gigabytes = sum(file.stat().st_size for file in stored) / 1e9
        name = f"{size}, {count} domain model{'s' if count > 1 else ''}"
        points.append((name, gigabytes, min(taken[1:])))  # what disturbs a run only adds to it
    run(recipe(reward, *others), disk / "out")
    check_equal(disk / "out", reward, others)
    sizes, counts = points[: len(SIZES)], points[len(SIZES) :]
    for kind, some in (("size", sizes), ("number of models", [sizes[1], *counts])):
        slope = statistics.linear_regression(
            [math.log(one[1]) for one in some], [math.log(one[2]) for one in some]
        ).slope
        rates = "; ".join(f"{name}: {s:.2f} s, {s / gb:.3f} s/GB" for name, gb, s in some)
        what = f"growth with the {kind}: exponent of time in bytes, fastest of five runs"
        detail = {name: {"gigabytes": gb, "seconds": s} for name, gb, s in some}
        table.add(SECTION, what, slope, 1.1, "at most", "", rates, detail=detail, dtype="bfloat16")
