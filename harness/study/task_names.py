# SPDX-License-Identifier: Apache-2.0
"""What a user's names of tasks stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError, first_line
from harness.tasks.base.candidates import CandidateTask

# What lm-eval raises where a task's YAML is wrong.
_MISTAKES = (
    AttributeError,
    ImportError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    yaml.YAMLError,
)


def load(manager: Any, given: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each of the names stands for; of a glob, what there is data for.

    Args:
        manager: lm-eval's ``TaskManager``.
        given: tasks, groups, tags, globs or YAML files.

    Yields:
        The name of a task or group, and its own ``TaskDict``.

    Raises:
        HarnessError: an unknown name; a YAML that is no task; a task that gives no number for a
            candidate, or has no data.
    """
    done: set[str] = set()
    for text in given:
        names = [name for name in _names(manager, text) if name not in done]
        done.update(names)
        by_name = {name: list(_load(manager, name)) for name in names}
        if names and not any(by_name.values()):
            raise HarnessError(f"{', '.join(names)}: no row in the data at hand")
        for tasks in by_name.values():
            yield from tasks


def _names(manager: Any, name: str) -> list[str]:
    if Path(name).suffix in (".yaml", ".yml"):
        if not Path(name).is_file():
            raise HarnessError(f"{name}: no such file; expected a task's YAML")
        return [name]
    matching: list[str] = manager.match_tasks([name])
    if not matching:
        import difflib

        close = difflib.get_close_matches(name, manager.all_tasks, n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise HarnessError(
            f"no task {name!r} among this project's{hint} (lm_eval ls tasks lists them; a task of "
            "your own: its YAML file, or --include-path FOLDER)"
        )
    return matching


def _load(manager: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a name stands for: a task or group, the tasks of a tag, or nothing without data."""
    try:
        loaded = manager.load([name])
    except HarnessError:
        raise
    except _MISTAKES as error:
        raise HarnessError(f"{name}: can't be loaded as a task: {first_line(error)}") from error
    for leaf, task in loaded["tasks"].items():
        if not isinstance(task, CandidateTask):
            raise HarnessError(
                f"{leaf} is not a task of scored candidates, which a reward model needs; choose "
                "preference or best-of-N tasks (rewardbench, minipref, bon_gsm8k, your own pairs)"
            )
        if "/" in leaf or leaf.startswith("."):
            raise HarnessError(f"{name}: a task can't be called {leaf!r}, as files are named by it")
    if not loaded["tasks"]:
        return
    groups = loaded["group_map"]
    inner = {child for children in groups.values() for child in children}
    top = [group for group in groups if group not in inner]
    if top:
        yield top[0], loaded
        return
    for leaf, task in loaded["tasks"].items():
        yield leaf, {"tasks": {leaf: task}, "groups": {}, "group_map": {}}
