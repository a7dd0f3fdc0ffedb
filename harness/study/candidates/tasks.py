# SPDX-License-Identifier: Apache-2.0
"""The rows of a study: by group those that are reported, and those that choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.study import task_names
from harness.study.candidates.config import Study
from harness.study.rows import REPORT, SELECT, Rows, check_metric
from harness.tasks.base.task_index import task_manager


@dataclass(frozen=True)
class Tasks:
    """What is reported.

    Attributes:
        groups: group -> the names of its tasks.
        digests: task -> a digest of its rows and settings.
        prompts: task that is reported -> all that it asks.
        smallest: what a user calls the task with the fewest rows.
    """

    groups: Mapping[str, list[str]]
    digests: Mapping[str, str]
    prompts: Mapping[str, set[str]]
    smallest: str


def load(study: Study) -> Tasks:
    """Load all rows once, to know them again, and hold those that choose against the others.

    Args:
        study: names the tasks; files count from where this process is.

    Raises:
        HarnessError: an unknown task, one that is there twice, one without the metric, or a prompt
            that chooses and is reported.
    """
    manager = _manager(study)
    groups: dict[str, list[str]] = {}
    rows: list[Rows] = []
    prompts: dict[str, set[str]] = {}
    sizes: list[tuple[int, str]] = []
    owner: dict[str, str] = {}
    for group, given in study.tasks.items():
        groups[group] = []
        for text in given:
            for name, loaded in task_names.load(manager, [text]):
                one = Rows(name, loaded, REPORT)
                for leaf in one.leaves:
                    first = owner.setdefault(leaf, f"{text} of {group}")
                    if first != f"{text} of {group}":
                        raise HarnessError(
                            f"{leaf} is there twice, in {first} and in {text} of {group}: name one"
                        )
                groups[group].append(name)
                rows.append(one)
                prompts[name] = one.prompts()
                sizes.append((len(prompts[name]), text))
    select = [
        Rows(name, loaded, SELECT)
        for text in _choosing(study)
        for name, loaded in task_names.load(manager, [text])
    ]
    _refuse_shared(select, rows)
    check_metric([*select, *rows], study.metric)
    digests = {one.name: one.digest() for one in (*rows, *select)}
    return Tasks(groups, digests, prompts, min(sizes)[1])


def load_reported(study: Study) -> list[Rows]:
    """The rows that are reported, for the process that scores them."""
    manager = _manager(study)
    named = (text for given in study.tasks.values() for text in given)
    return [Rows(*one, REPORT) for text in named for one in task_names.load(manager, [text])]


def _choosing(study: Study) -> list[str]:
    """The tasks that choose anything, each once."""
    own = (text for one in study.candidates.values() for text in one.select)
    return list(dict.fromkeys([*study.select, *own]))


def _manager(study: Study) -> Any:
    return task_manager([Path(path) for path in study.include_path], metadata=study.metadata)


def _refuse_shared(chosen: list[Rows], reported: list[Rows]) -> None:
    for one in chosen:
        prompts, originals = one.prompts(), one.originals()
        for other in reported:
            shared = sorted(prompts & other.prompts()) or sorted(originals & other.originals())
            if shared:
                raise HarnessError(
                    f"{len(shared)} prompts of {other.name}, which is reported, are also in "
                    f"{one.name}, which chooses ({shared[0][:60]!r}): a gain on them would prove "
                    "nothing; name other tasks as `select`"
                )
