# SPDX-License-Identifier: Apache-2.0
"""Divides tasks by their prompts: each prompt on one side, wherever and in what order it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.rows.conversation import asked, messages_of
from harness.rows.documents import Docs
from harness.tasks.base.candidates import CandidateTask

# Hashed with every prompt; with another text the prompts would be divided otherwise.
SALT = "dogerm split 1"


def docs(task: CandidateTask) -> Sequence[Mapping[str, Any]]:
    """The documents that lm-eval evaluates."""
    found: Sequence[Mapping[str, Any]] = task.eval_docs
    return found


def prompt(doc: Mapping[str, Any]) -> str:
    """The text of a document's prompt, blanks aside, whatever kind of document it is."""
    return asked(messages_of(doc["prompt"]))


def divide(
    chosen: Sequence[Mapping[str, CandidateTask]],
    others: Sequence[Mapping[str, CandidateTask]],
    share: float,
    option: str,
) -> None:
    """Leave in `chosen` about this share of the prompts, and in `others` the rest.

    What a task counts in its group stays what it counts with all of its rows.

    Args:
        chosen: tasks by name, of each task or group; changed in place.
        others: the same tasks, loaded once more; changed in place.
        share: of the prompts, in 0..1.
        option: what the user typed, for messages.

    Raises:
        HarnessError: nothing is left of a task on one of the sides.
    """
    tied = together(task for tasks in chosen for task in tasks.values())
    for side, tasks in (("to choose with", chosen), ("to report", others)):
        for leaf, task in (item for one in tasks for item in one.items()):
            split = task.config.test_split
            found = task.dataset[split]
            kept = Docs(
                doc for doc in found if (place(tied[task.unit(doc)]) < share) == (tasks is chosen)
            )
            if not kept:
                raise HarnessError(
                    f"{option} {share:g} leaves none of the {len(found)} rows of {leaf} {side}: "
                    "choose another share, or name only tasks with more rows"
                )
            task.dataset[split] = kept


def together(tasks: Iterable[CandidateTask]) -> dict[str, str]:
    """Unit -> what all units that must stay with it have in common.

    Documents of one unit stay together, and documents of one prompt do. Most often that is the
    same; but a unit of RewardBench 2's Ties is two prompts, and a prompt may be in several units.
    """
    first: dict[str, str] = {}

    def root(key: str) -> str:
        while first.setdefault(key, key) != key:
            first[key] = first[first[key]]
            key = first[key]
        return key

    for task in tasks:
        for doc in task.dataset[task.config.test_split]:
            ends = sorted((root(task.unit(doc)), root(prompt(doc))))
            first[ends[1]] = ends[0]  # the smallest, whatever the order of the rows
    return {key: root(key) for key in list(first)}


def place(key: str, salt: str = SALT) -> float:
    """A number in 0..1 that depends on the key and the salt only."""
    digest = hashlib.sha256(f"{salt}\n{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
