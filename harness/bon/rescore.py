# SPDX-License-Identifier: Apache-2.0
"""lm-eval's own scoring of one response, where a run scored several of them together.

Under ``repeats`` a task's filters make one thing of all responses to a document (mostly they take
the first), so the file has one score for many candidates. The task's own filters and metric are run
here on each response alone. The documents are those in the file: no data set is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows.documents import Docs
from harness.runs.quiet import at_level

# The way that needs no scoring here, so that no generated program is executed.
INSTEAD = (
    "run lm_eval once per candidate with repeats 1, each run with another --seed, and give all the "
    "samples files to dogerm bon collect"
)


class Rescorer:
    """A task of lm-eval, scoring documents that a samples file holds.

    Args:
        name: the task's name.
        docs: the documents.
        filter: the name of the filter to score with.
        metric: the name of the metric.
        include_path: folder with the user's own tasks.

    Raises:
        HarnessError: no such task or filter, or the task executes generated programs.
    """

    def __init__(
        self,
        name: str,
        docs: Sequence[Mapping[str, Any]],
        filter: str,
        metric: str,
        include_path: Path | None = None,
    ) -> None:
        self.name, self.metric = name, metric
        self._task = _load(name, docs, include_path)
        filters = {ensemble.name: ensemble for ensemble in self._task._filters}
        if filter not in filters:
            raise HarnessError(
                f"task {name} has no filter {filter} (it has: {', '.join(filters)}): the samples "
                f"are from another version of it; {INSTEAD}"
            )
        self._filter = filters[filter]

    def score(self, doc: Mapping[str, Any], responses: Sequence[str]) -> tuple[Any, Any]:
        """The metric for a document's responses, and what the filter made of them."""
        from lm_eval.api.instance import Instance

        instance = Instance("generate_until", dict(doc), ("", {}), 0, resps=list(responses))
        try:
            self._filter.apply([instance])
            filtered = instance.filtered_resps[self._filter.name]
            metrics = self._task.process_results(dict(doc), [filtered])
            value = metrics[self.metric]
            if hasattr(value, "item"):  # numpy's number
                value = value.item()
            return value, filtered
        except Exception as error:  # whatever a task's own code raises
            reason = " ".join(str(error).split()) or type(error).__name__
            raise HarnessError(
                f"task {self.name}, filter {self._filter.name}, cannot score {len(responses)} "
                f"response(s) to a document: {reason}; choose another --filter, or {INSTEAD}"
            ) from error


def _load(name: str, docs: Sequence[Mapping[str, Any]], include_path: Path | None) -> Any:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(include_path) if include_path else None)
    entry = manager.task_index.get(name)
    if entry is None:
        raise HarnessError(
            f"lm-eval knows no task {name}; name the folder of its YAML with --include-path, or "
            f"the task's name with --task, or {INSTEAD}"
        )
    if (entry.cfg or {}).get("unsafe_code"):
        raise HarnessError(
            f"task {name} executes generated programs (unsafe_code), which only lm_eval's own run "
            f"does, with --confirm_run_unsafe_code: {INSTEAD}"
        )
    # A group of one, for that is how TaskManager takes a known task with changed keys.
    changes = {
        "task": name,
        "custom_dataset": lambda **_: {"samples": Docs(dict(doc) for doc in docs)},
        "dataset_kwargs": None,
        "test_split": "samples",
        "validation_split": None,
        "training_split": None,
        "fewshot_split": None,
        "fewshot_config": None,
        "num_fewshot": 0,
        "process_docs": None,  # the file has the documents that it made
    }
    try:
        with at_level("lm_eval.api.task", logging.ERROR):  # explains `custom_dataset` at length
            group = manager.load({"group": "dogerm_bon", "task": [changes]})
    except Exception as error:  # whatever a task's own code raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HarnessError(f"task {name} cannot be loaded: {reason}; or {INSTEAD}") from error
    return group["tasks"][name]
