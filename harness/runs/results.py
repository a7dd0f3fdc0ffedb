# SPDX-License-Identifier: Apache-2.0
"""The files of a run of `lm_eval --log_samples --output_path`.

lm-eval 0.4.13 writes ``<output_path>/<model>/results_<date>.json`` and, with the same date,
``samples_<task>_<date>.jsonl`` (lm_eval/loggers/evaluation_tracker.py). Every run of one model goes
into the same folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs.saved import check_run

# The whole stem of a file of lm-eval's. Its dates sort as text.
DATED = re.compile(r"(?P<name>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?)")
_SAMPLES = "samples_"


@dataclass
class Run:
    """The files of one lm-eval run: its samples by task and its results by date.

    Attributes:
        leaves: task -> its samples file.
        results: date -> the results file of that date, oldest first; only dates of `leaves`.
        whole: False for a single samples file, which says nothing about groups.
        notes: what the user should know about the choice of files.
    """

    path: Path
    leaves: dict[str, Path]
    results: dict[str, dict[str, Any]]
    whole: bool = True
    notes: list[str] = field(default_factory=list)

    def latest(self, name: str, part: str) -> Any:
        """What the newest results file that has it says of a task or group, e.g. in ``configs``."""
        for content in reversed(self.results.values()):
            if name in content.get(part, {}):
                return content[part][name]
        return None


def newest(files: Iterable[Path]) -> dict[str, Path]:
    """Of lm-eval's files, the latest of each name (``samples_<task>``, ``results``).

    Files whose name has no date are none of lm-eval's and left out.
    """
    latest: dict[str, tuple[str, Path]] = {}
    for file in files:
        dated = DATED.fullmatch(file.stem)
        if dated:
            mine = (dated["date"], file)
            latest[dated["name"]] = max(mine, latest.get(dated["name"], mine))
    return {name: file for name, (_, file) in sorted(latest.items())}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        HarnessError: empty, not UTF-8, not JSON, or not an object.
    """
    if not path.stat().st_size:
        raise HarnessError(f"{path} is empty: was the disk full when it was written? Run it again")
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise HarnessError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{path} holds a JSON {type(content).__name__}, expected an object")
    return content


def find_run(path: Path) -> Run:
    """The files of a run that a user names by a folder, a results file, or one samples file.

    In a folder, a task that was run several times is taken from its latest run.

    Raises:
        HarnessError: no samples there, or several models' folders.
    """
    if path.is_file() and path.suffix == ".jsonl":
        dated = DATED.fullmatch(path.stem)
        name = (dated["name"] if dated else path.stem).removeprefix(_SAMPLES)
        results = results_beside(path)
        if dated and path.name.startswith(_SAMPLES):
            check_saved(path, name, results)
        return Run(path, {name: path}, results, whole=False)
    if path.is_file():
        dated = DATED.fullmatch(path.stem)
        if path.suffix != ".json" or dated is None:
            raise HarnessError(
                f"{path} is neither a folder of lm_eval's --output_path nor a file "
                "results_<date>.json or samples_<task>_<date>.jsonl in one"
            )
        return _run(path, path.parent, only=dated["date"])
    folders = sorted({file.parent for file in path.glob(f"*/{_SAMPLES}*.jsonl")})
    if any(path.glob(f"{_SAMPLES}*.jsonl")):
        folders = [path]
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise HarnessError(f"{path} holds runs of {len(folders)} models ({names}): name one folder")
    return _run(path, folders[0] if folders else path)


def results_beside(samples: Path) -> dict[str, dict[str, Any]]:
    """date -> the results file of a samples file's date; empty where its name has none.

    Raises:
        HarnessError: the results are damaged.
    """
    dated = DATED.fullmatch(samples.stem)
    return _results(samples.parent, {dated["date"]}) if dated else {}


def check_saved(samples: Path, task: str, results: dict[str, dict[str, Any]]) -> None:
    """Refuse samples of lm-eval's that are cut, or fewer than the results of their date say.

    Raises:
        HarnessError: so it is; see `harness.runs.saved`.
    """
    dated = DATED.fullmatch(samples.stem)
    check_run(samples, task, results.get(dated["date"]) if dated else None)


def _run(path: Path, folder: Path, only: str | None = None) -> Run:
    dated = [(DATED.fullmatch(file.stem), file) for file in folder.glob(f"{_SAMPLES}*.jsonl")]
    files = [file for match, file in dated if match and only in (None, match["date"])]
    if not files:
        raise HarnessError(
            f"{path}: no samples_<task>_<date>.jsonl there; run lm_eval with --log_samples and "
            "--output_path"
        )
    leaves = {name.removeprefix(_SAMPLES): file for name, file in newest(files).items()}
    dates = {match["date"] for match, file in dated if match and file in leaves.values()}
    run = Run(path, leaves, _results(folder, dates))
    for name, file in leaves.items():
        check_saved(file, name, run.results)
    _check_nothing_lacks(run, folder, only)
    older = len(files) - len(leaves)
    if older:
        run.notes.append(
            f"{path}: {older} older samples files of the same tasks are not used; name a results "
            "file to compare that run"
        )
    if len(dates) > 1:
        run.notes.append(
            f"{path}: its tasks are from {len(dates)} runs, {', '.join(sorted(dates))}"
        )
    return run


def _check_nothing_lacks(run: Run, folder: Path, only: str | None) -> None:
    """Refuse a folder whose latest results are empty, or results whose samples are not there.

    Else an older run would be read for the latest one, or a part of a run for all of it.

    Raises:
        HarnessError: so it is.
    """
    latest = newest(folder.glob("results_*.json")).get("results")
    if latest and only is None and not latest.stat().st_size:
        read_json(latest)
    for date, content in run.results.items():
        hashes = content.get("task_hashes")
        for task in hashes if isinstance(hashes, dict) else ():
            if task not in run.leaves:
                check_run(folder / f"{_SAMPLES}{task}_{date}.jsonl", task, content)


def _results(folder: Path, dates: set[str]) -> dict[str, dict[str, Any]]:
    by_date = {}
    for file in sorted(folder.glob("*.json")):
        dated = DATED.fullmatch(file.stem)
        if dated and dated["date"] in dates:
            content = read_json(file)
            if "results" in content:
                by_date[dated["date"]] = content
    return dict(sorted(by_date.items()))
