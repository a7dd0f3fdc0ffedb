# SPDX-License-Identifier: Apache-2.0
"""Which data set a task or group is measured on, by the id that the Hub has for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from harness.tasks.base.task_index import task_manager

# What `datasets.load_dataset` takes in place of an id, to read local files.
_BUILDERS = ("arrow", "csv", "json", "pandas", "parquet", "text", "webdataset")


@dataclass(frozen=True)
class Benchmark:
    """The data set that a section is measured on.

    Attributes:
        id: on the Hub; elsewhere the benchmark's name.
        config: its configuration, where it has several.
        folder: its ``data_dir``, where its parts are folders.
        rows: how many items the published set has for this section; None where that is not known.
    """

    id: str
    config: str | None = None
    folder: str | None = None
    split: str | None = None
    rows: int | None = None

    def items(self, count: int) -> str:
        """How many items were measured, and of how many, where these are not the same."""
        return f"{count} of {self.rows}" if self.is_part(count) else str(count)

    def is_part(self, count: int) -> bool:
        """Whether a measurement of so many items is not of the whole published set."""
        return self.rows not in (None, count)


def task_index(
    names: Iterable[str], include_path: Sequence[Path] = ()
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The YAML of all tasks, and each group's direct members, without loading any data.

    lm-eval's own tasks, whose index takes seconds, are among them only if a name asks for them.
    """
    index = task_manager(include_path).task_index
    if not set(names) <= set(index):
        index = task_manager(include_path, defaults=True).task_index
    configs = {name: entry.cfg or {} for name, entry in index.items()}
    tree = {
        name: [_member(task) for task in config["task"]]
        for name, config in configs.items()
        if isinstance(config.get("task"), list)
    }
    return configs, tree


def _member(task: Any) -> str:
    """A member of a group, which its YAML may name alone or with settings."""
    return str((task.get("task") or task.get("group")) if isinstance(task, dict) else task)


def benchmarks(
    sections: Iterable[tuple[str, int]],
    configs: Mapping[str, Any],
    tree: Mapping[str, Sequence[str]],
) -> dict[str, Benchmark]:
    """The data set of each section.

    Args:
        sections: names with their depth, a group before its members.
        configs: of tasks, as in their YAML or in ``configs`` of a results file.
        tree: group -> its direct members.

    Returns:
        section -> its data set. A group has its members' if they share one, else one by its own
        name; a section that no YAML knows (those of a user's own data) has that of its group.
    """
    of_sections: dict[str, Benchmark] = {}
    above: list[str] = []
    for name, depth in sections:
        del above[depth:]
        known = _benchmark(name, configs, tree)
        if known is None and above:
            known = replace(of_sections[above[-1]], rows=None)
        of_sections[name] = known or Benchmark(name)
        above.append(name)
    return of_sections


def _benchmark(
    name: str, configs: Mapping[str, Any], tree: Mapping[str, Sequence[str]]
) -> Benchmark | None:
    members = tree.get(name) or ()
    if not members:
        return _of_task(configs[name]) if name in configs else None
    # a results file does not tell of subsets for which there were no rows
    present = [member for member in members if tree.get(member) or member in configs]
    of_members = [_benchmark(member, configs, tree) for member in present]
    known = [member for member in of_members if member is not None]
    ids = {member.id for member in known}
    if len(known) < len(present) or len(ids) != 1:
        return Benchmark(name)
    rows = [None] if len(present) < len(members) else [member.rows for member in known]
    return Benchmark(
        ids.pop(),
        _shared(member.config for member in known),
        _shared(member.folder for member in known),
        _shared(member.split for member in known),
        None if None in rows else sum(row for row in rows if row is not None),
    )


def _shared(values: Iterable[str | None]) -> str | None:
    different = set(values)
    return different.pop() if len(different) == 1 else None


def _of_task(config: Mapping[str, Any]) -> Benchmark | None:
    options = config.get("dataset_kwargs") or {}
    rows = (config.get("metadata") or {}).get("rows")
    split, path = config.get("test_split"), str(config.get("dataset_path") or "")
    if hub_id := options.get("hub_id"):
        return Benchmark(hub_id, options.get("hub_name"), options.get("hub_dir"), split, rows)
    if is_hub_id(path):
        return Benchmark(path, config.get("dataset_name"), options.get("data_dir"), split, rows)
    if name := options.get("benchmark"):
        return Benchmark(str(name), rows=rows)
    return None


def is_hub_id(path: str) -> bool:
    """Whether a name can be an id on the Hub: no file or folder here, and spelt as an id."""
    from harness.rows.local_files import ENDINGS

    if path in ("", *_BUILDERS) or path.endswith(tuple(ENDINGS)) or Path(path).exists():
        return False
    try:
        validate_repo_id(path)
    except HFValidationError:
        return False
    return True
