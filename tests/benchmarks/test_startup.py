# SPDX-License-Identifier: Apache-2.0
"""How long a command waits before its work: help, doctor, and what the hook costs lm-eval."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from harness.commands.cli import COMMANDS
from tests.benchmarks.measure import Child, alternate_processes, in_process
from tests.benchmarks.table import Figures

SECTION = "Start-up"
RUNS = 7
DOGERM = Path(sys.executable).with_name("dogerm")
LM_EVAL = Path(sys.executable).with_name("lm_eval")


def seconds(*arguments: str) -> list[float]:
    """A few runs of the command after one to warm up."""
    return [in_process([DOGERM, *arguments]).seconds for _ in range(RUNS + 1)][1:]


def test_help(table: Figures) -> None:
    """The command's, and of its subcommands' the slowest."""
    runs = seconds("--help")
    table.add(
        SECTION, "dogerm --help", statistics.median(runs), 0.3, "at most", "s",
        low=min(runs), high=max(runs), detail={"seconds": runs},
    )  # fmt: skip
    each = {name: seconds(name, "--help") for name in COMMANDS}
    slowest = max(each, key=lambda name: statistics.median(each[name]))
    table.add(
        SECTION, f"dogerm {slowest} --help, the slowest", statistics.median(each[slowest]), 0.3,
        "at most", "s", low=min(each[slowest]), high=max(each[slowest]), detail=each,
    )  # fmt: skip


def test_doctor(table: Figures) -> None:
    """It imports what it tells of: torch, transformers, mergekit, lm-eval. No bar."""
    runs = [in_process([DOGERM, "doctor"]).seconds for _ in range(3)]
    table.add(
        SECTION, "dogerm doctor", statistics.median(runs), None, "at most", "s",
        low=min(runs), high=max(runs),
    )  # fmt: skip


def names(listing: str) -> set[str]:
    """First column of lm-eval's Markdown tables."""
    return {line.split("|")[1].strip() for line in listing.splitlines() if line.startswith("|")}


def test_lm_eval_ls(table: Figures) -> None:
    """`lm_eval ls tasks` with our hook and without: its own tasks are all there, and ours too."""
    listed: dict[str, set[str]] = {}

    def run(hook: str) -> Child:
        done = in_process([LM_EVAL, "ls", "tasks"], env={"DOGERM_AUTOLOAD": hook})
        listed[hook] = names(done.output)
        return done

    taken, _ = alternate_processes(lambda: run("1"), lambda: run("0"))
    ours = listed["1"] - listed["0"]
    assert listed["0"] <= listed["1"] and "rewardbench_chat" in ours
    table.add(
        SECTION, "lm_eval ls tasks, time by lm-eval's without this project", taken.ratio, 1.05,
        "at most", "×", f"{len(ours)} more of {len(listed['1']):,} names", pairs=taken,
    )  # fmt: skip
