# SPDX-License-Identifier: Apache-2.0
"""lm-eval's index of tasks, for this project's own commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dogerm_plugin import _autoload
from harness import tasks


def task_manager(
    include_path: Iterable[object] = (),
    *,
    defaults: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """A ``TaskManager`` that knows this project's tasks, and those of other folders.

    Args:
        include_path: folders with a user's own tasks; they come last and win.
        defaults: lm-eval's own, too: to index them takes a second, and ten the first time.
        metadata: as lm-eval's ``--metadata``.
    """
    _autoload.install(force=True)  # it is what brings ours beside the defaults
    from lm_eval.tasks import TaskManager

    ours = [] if defaults else [str(tasks.FOLDER)]
    return TaskManager(
        include_path=[*ours, *map(str, include_path)],
        include_defaults=defaults,
        metadata=dict(metadata or {}),
    )
