# SPDX-License-Identifier: Apache-2.0
"""Whether files that lm-eval saved are whole: it only logs a warning when the disk is full."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

_BLOCK = 2**20


def check_samples(path: Path, expected: int = 0) -> None:
    """Refuse a samples file of lm-eval's that was cut.

    Args:
        path: ``samples_<task>_<date>.jsonl``; every line of it ends.
        expected: lines that it must have at least.

    Raises:
        HarnessError: it is missing, empty, ends in mid-line or has fewer lines.
    """
    if not path.is_file():
        raise _unfit(path, f"is missing, expected {expected} lines")
    lines, last = 0, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            lines += block.count(b"\n")
            last = block[-1:]
    if not last:
        raise _unfit(path, "is empty")
    if last != b"\n":
        raise _unfit(path, f"is cut in line {lines + 1}")
    if lines < expected:
        raise _unfit(path, f"has {lines} lines, expected {expected} by the results beside it")


def check_results(path: Path) -> None:
    """Refuse a results file that is missing, empty or cut.

    Raises:
        HarnessError: so it is.
    """
    if not path.is_file():
        raise _unfit(path, "is missing")
    if not path.stat().st_size:
        raise _unfit(path, "is empty")
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        raise _unfit(path, f"is cut or damaged ({error})") from error


def expected_lines(results: Mapping[str, Any], task: str) -> int:
    """How many lines a task's samples have by the results of its run: documents times filters."""
    try:
        documents = int(results["n-samples"][task]["effective"])
        named = [key.partition(",")[2] for key in results["results"][task] if "," in key]
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0  # not lm-eval's, or of another version
    return documents * max(1, len(set(named)))


def check_run(samples: Path, task: str, results: Mapping[str, Any] | None) -> None:
    """Refuse the samples of a task that are not all of its run.

    Args:
        samples: the file.
        task: whose it is.
        results: the content of the results file of the same date, where there is one.

    Raises:
        HarnessError: see `check_samples`.
    """
    check_samples(samples, expected_lines(results, task) if results else 0)


def _unfit(path: Path, what: str) -> HarnessError:
    return HarnessError(
        f"{path} {what}: was the disk full when lm_eval wrote it? Make room and run lm_eval again"
    )
