# SPDX-License-Identifier: Apache-2.0
"""What a trial's score depends on beside its weights, told the same on every machine.

It names the study, so that no score of another recipe, model file, row, setting or version of the
code is ever taken for one of this search; and a worker elsewhere is held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.runs.identity import code, differences, digest
from harness.sweep.bench import Bench
from harness.sweep.rows import SELECT, Rows

_MODEL_FILE = "model file "
# With all that these import: what scores a trial, and what its numbers mean.
SCORED_BY = ("harness.search.worker", "harness.search.space")


def identity(bench: Bench, rows: Sequence[Rows], metric: str) -> dict[str, str]:
    """Part -> its text or digest.

    Args:
        bench: the models and settings.
        rows: of all roles; those that select count.
        metric: what the score is.
    """
    fixed = bench.made_with
    found = {part: text for part, text in fixed.items() if not part.startswith(_MODEL_FILE)}
    folders: dict[Path, int] = {}
    for part, text in fixed.items():
        if part.startswith(_MODEL_FILE):
            path = Path(part.removeprefix(_MODEL_FILE))
            number = folders.setdefault(path.parent, len(folders))
            found[f"{path.name} of model {number + 1}"] = text
    for one in rows:
        if one.role == SELECT:
            found[f"rows of {one.name}"] = one.digest()
    found.update(code(*SCORED_BY))
    found["metric"] = metric
    return found


def name_of(found: Mapping[str, str]) -> str:
    """A study's name: another one for anything else."""
    return f"dogerm-{digest(found)}"


def check(wanted: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Refuse to measure something else than the others do.

    Raises:
        HarnessError: what differs.
    """
    found = differences(wanted, here)
    if found:
        raise HarnessError(
            f"this worker would not measure what the search is about: {'; '.join(found)}; give "
            "every machine the same models, data and versions, and say the device (--model_args "
            "device=cuda) where not all have a GPU"
        )
