# SPDX-License-Identifier: Apache-2.0
"""``--limit`` and ``--samples`` for this project's tasks, checked before anything is scored.

lm-eval takes ``--limit 0`` for all documents, a name in ``--samples`` that is no task of the run
for nothing, and logs documents that ``--samples`` does not list in order under one another's
number; of the rest it ends in a traceback.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Mapping
from typing import Any

from harness.errors import HarnessError
from harness.tasks.base.candidates import CandidateTask

_EXAMPLE = """--samples '{"minipref-math": [0, 3, 6]}'"""


def ours(loaded: Any) -> dict[str, CandidateTask]:
    """This project's tasks among those of lm-eval's ``TaskDict``."""
    tasks = loaded.get("tasks", {}) if isinstance(loaded, Mapping) else {}
    return {name: task for name, task in tasks.items() if isinstance(task, CandidateTask)}


def check_limit(limit: Any) -> None:
    """Refuse a limit that is no number of documents and no share of them.

    Raises:
        HarnessError: it is not.
    """
    if limit is None:
        return
    number = limit if isinstance(limit, int | float) and not isinstance(limit, bool) else math.nan
    if not 0 < number <= sys.maxsize:
        raise HarnessError(
            f"--limit {limit}: expected a number of documents a task, 1 or more, or a share of "
            "them between 0 and 1; leave it out for all documents"
        )


def checked_samples(samples: Any, loaded: Any) -> Any:
    """The documents to score, by task; those of this project's tasks in order and once.

    Args:
        samples: as lm-eval takes them: task -> numbers of documents, from 0.
        loaded: lm-eval's ``TaskDict``.

    Raises:
        HarnessError: they are no such mapping, or name a task or a document that is not there.
    """
    if samples is None:
        return None
    if not isinstance(samples, Mapping):
        raise HarnessError(
            f"--samples {samples} is neither a JSON object, task -> numbers of documents, nor a "
            f"file with one; for example {_EXAMPLE}"
        )
    mine = ours(loaded)
    for name in samples:
        if name not in loaded["tasks"]:
            raise HarnessError(f"--samples: {_unknown(str(name), loaded)}")
    return {
        name: _checked(numbers, mine[name]) if name in mine else numbers
        for name, numbers in samples.items()
    }


def _unknown(name: str, loaded: Any) -> str:
    names = list(loaded["tasks"])
    if name in loaded.get("groups", {}):
        return f"{name} is a group; name the tasks in it, such as {names[0]}"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f" (they are: {', '.join(names[:5])})"
    return f"{name!r} is none of the tasks of this run{hint}"


def _checked(numbers: Any, task: CandidateTask) -> list[int]:
    name, count = task.config.task, len(task.eval_docs)
    if not isinstance(numbers, list) or not numbers:
        raise HarnessError(
            f"--samples: {name} has {numbers!r}, expected a list of numbers of documents; for "
            f"example {_EXAMPLE}"
        )
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool):
            raise HarnessError(
                f"--samples: {name} has {number!r} among its documents, expected whole numbers"
            )
        if not 0 <= number < count:
            raise HarnessError(
                f"--samples: {name} has no document {number}; its {count} documents are numbered "
                f"from 0 to {count - 1}"
            )
    return sorted(set(numbers))
