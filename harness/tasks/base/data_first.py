# SPDX-License-Identifier: Apache-2.0
"""The rows of a run's tasks, read before its model is loaded.

lm-eval 0.4.13 loads the model first, so that a file which is missing, or a row that does not fit,
is told after the minutes that a large model takes, and the next one after as many again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.datasets import MissingDataError
from harness.runs.quiet import quiet
from harness.tasks.base import run_options


def load_first(manager: Any, tasks: Any, limit: Any = None, samples: Any = None) -> None:
    """Load a run's tasks and check its options; `manager.load` then gives these tasks, once.

    Args:
        manager: lm-eval's ``TaskManager``.
        tasks: as ``simple_evaluate`` takes them.
        limit: its ``--limit``.
        samples: its ``--samples``.

    Raises:
        HarnessError: a task's own; where data are missing, all that are.
    """
    try:
        loaded = manager.load(tasks)
    except MissingDataError as first:
        raise _all_missing(manager, tasks, first) from None
    if run_options.ours(loaded):
        run_options.check_limit(limit)
        run_options.checked_samples(samples, loaded)

    def load(asked: Any) -> Any:
        del manager.load  # the class's own again, for a next run
        return loaded if asked is tasks else manager.load(asked)

    manager.load = load


def _all_missing(manager: Any, tasks: Any, first: MissingDataError) -> MissingDataError:
    lacking, on_the_hub = dict(first.lacking), list(first.on_the_hub)
    with quiet():
        for leaf in _leaves(manager, tasks if isinstance(tasks, list) else [tasks]):
            try:
                manager.load([leaf])
            except MissingDataError as error:
                new = [name for name in error.on_the_hub if name not in lacking]
                lacking, on_the_hub = {**lacking, **error.lacking}, [*on_the_hub, *new]
            except HarnessError:  # told by itself, when the data are there
                pass
    return MissingDataError(first.folder, lacking, on_the_hub)


def _leaves(manager: Any, names: Sequence[Any]) -> Iterator[Any]:
    """The tasks of groups, as far as the index says them."""
    for name in names:
        entry = manager.task_index.get(name) if isinstance(name, str) else None
        members = (entry.cfg or {}).get("task") if entry is not None else None
        if isinstance(members, list):
            yield from _leaves(manager, members)
        else:
            yield name
