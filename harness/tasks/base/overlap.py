# SPDX-License-Identifier: Apache-2.0
"""Names of tasks that overlap: a section beside the benchmark that it is part of.

`--tasks rewardbench,rewardbench_chat` names the leaves of one section twice. lm-eval builds them
twice and then refuses them as duplicates. Ours are the same task both times, scored once; both
groups count it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.api.group import Group

from harness.errors import HarnessError
from harness.tasks.base.candidates import CandidateTask


def shared_once(built: Sequence[Any]) -> list[Any]:
    """Let the groups of `TaskManager.load` share the leaves of this project that several have.

    Args:
        built: tasks and groups as they were asked for. Of equal leaves, the last takes the place
            of the others: it is the one that lm-eval scores.

    Returns:
        `built` as lm-eval's check for duplicates is to see it: without the leaves that are shared.
        What else stands there twice is lm-eval's to refuse.

    Raises:
        HarnessError: one name, and unlike settings.
    """
    asked: dict[str, list[tuple[str, CandidateTask]]] = defaultdict(list)
    for item in built:
        for leaf in _leaves(item):
            if isinstance(leaf, CandidateTask):
                asked[leaf.task_name].append((_name(item), leaf))
    shared = {name: leaves[-1][1] for name, leaves in asked.items() if len(leaves) > 1}
    for name, last in shared.items():
        for place, leaf in asked[name]:
            # not !=: a TaskConfig is a dict, too, and that one's would find all of them equal
            if type(leaf) is not type(last) or not leaf.config == last.config:
                raise HarnessError(
                    f"--tasks names {name} twice, in {place} and in {asked[name][-1][0]}, with "
                    "unlike settings: ask for one of them at a time"
                )
    if not shared:
        return list(built)
    for item in built:
        _replace(item, shared)
    return [rest for item in built for rest in _without(item, shared)]


def _name(item: Any) -> str:
    return str(item.name if isinstance(item, Group) else item.task_name)


def _leaves(item: Any) -> list[Any]:
    return item.get_all_tasks() if isinstance(item, Group) else [item]


def _replace(item: Any, shared: dict[str, CandidateTask]) -> None:
    if not isinstance(item, Group):
        return
    for child in list(item):
        if isinstance(child, Group):
            _replace(child, shared)
        elif child.task_name in shared:
            item.add(shared[child.task_name])


def _without(item: Any, shared: dict[str, CandidateTask]) -> Iterator[Any]:
    """The item without leaves that are shared; a group is a copy, without inner groups."""
    rest = [leaf for leaf in _leaves(item) if leaf.task_name not in shared]
    if not isinstance(item, Group):
        yield from rest
        return
    copy = Group(name=item.name)
    for leaf in rest:
        copy.add(leaf)
    yield copy
