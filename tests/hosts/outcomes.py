"""A pytest plugin for the hosts' suites: writes down what becomes of each test.

OUTCOMES names the JSON file that it writes. KNOWN names one that it reads: tests that passed in
another run are collected, and not run again.
"""

import json
import os
from pathlib import Path

import pytest

found: dict[str, str] = {}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        found[report.nodeid] = "error"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = json.loads(Path(os.environ["KNOWN"]).read_text("utf-8"))
    passed = [item.nodeid for item in items if known.get(item.nodeid) == "passed"]
    found.update(dict.fromkeys(passed, "passed"))
    items[:] = [item for item in items if item.nodeid not in found]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or not report.passed:
        in_the_test = report.when == "call" or report.skipped
        found[report.nodeid] = report.outcome if in_the_test else "error"


def pytest_sessionfinish() -> None:
    Path(os.environ["OUTCOMES"]).write_text(json.dumps(found), "utf-8")
