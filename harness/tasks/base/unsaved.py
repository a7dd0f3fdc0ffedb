# SPDX-License-Identifier: Apache-2.0
"""What lm-eval could not save of this project's runs, told at their end: it only logs a warning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.models import NAMES
from harness.runs.saved import check_results, check_samples
from harness.tasks import FOLDER


class Unsaved:
    """What lm-eval could not save in this process, to be told when its tables are printed."""

    def __init__(self) -> None:
        self.problems: list[HarnessError] = []

    def results(self, tracker: Any, results: Mapping[str, Any]) -> None:
        """Look at the results file that a tracker has just written."""
        tracker.dogerm_looks = bool(tracker.output_path) and _is_ours(tracker, results)
        if tracker.dogerm_looks:
            output, folder = Path(tracker.output_path), _folder(tracker)
            stem = output.stem if output.suffix == ".json" else "results"
            date = getattr(tracker, "date_id", None)
            self._note(check_results, folder / f"{stem}_{date}.json" if date else folder)

    def samples(self, tracker: Any, task: str, expected: int) -> None:
        """Look at the samples file that a tracker has just written."""
        date = getattr(tracker, "date_id", None)
        if getattr(tracker, "dogerm_looks", False) and date:
            path = _folder(tracker) / f"samples_{task}_{date}.jsonl"
            self._note(check_samples, path, expected)

    def _note(self, check: Any, *arguments: Any) -> None:
        try:
            check(*arguments)
        except HarnessError as error:
            self.problems.append(error)

    def tell(self) -> None:
        """Raise the first problem, if there is one."""
        problems, self.problems = self.problems, []
        if problems:
            more = f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""
            raise HarnessError(f"the results could not be saved: {problems[0]}{more}")


def _folder(tracker: Any) -> Path:
    output = Path(tracker.output_path)
    if output.suffix == ".json":
        return output.parent
    return output / str(tracker.general_config_tracker.model_name_sanitized)


def _is_ours(tracker: Any, results: Mapping[str, Any]) -> bool:
    """Whether a run is of one of this project's models or tasks."""
    tasks = os.path.join(FOLDER, "")
    sources = (
        str((config.get("metadata") or {}).get("config_source", ""))
        for config in (results.get("configs") or {}).values()
        if isinstance(config, Mapping)
    )
    return tracker.general_config_tracker.model_source in NAMES or any(
        source.startswith(tasks) for source in sources
    )


UNSAVED = Unsaved()
