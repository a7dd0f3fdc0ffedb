# SPDX-License-Identifier: Apache-2.0
"""What a trial's score depends on beside its point, told the same on every machine.

It names the study, so that no score of another recipe, model file, row, setting or version of the
code is ever taken for one of this search; and a worker elsewhere is held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.runs.identity import code, differences
from harness.study.merged_model import MergedModel
from harness.study.rows import SELECT, Rows

_MODEL_FILE = "model file "
# With all that these import: what scores a trial, and what its numbers mean.
SCORED_BY = ("harness.study.choose", "harness.study.space")


def identity(model: MergedModel, rows: Sequence[Rows], metric: str) -> dict[str, str]:
    """All that a trial's score depends on beside its point: part -> its text or digest.

    Args:
        model: the models and settings.
        rows: of all roles; those that select count.
        metric: what the score is.
    """
    fixed = model.made_with
    parts = {part: text for part, text in fixed.items() if not part.startswith(_MODEL_FILE)}
    folders: dict[Path, int] = {}
    for part, text in fixed.items():
        if part.startswith(_MODEL_FILE):
            path = Path(part.removeprefix(_MODEL_FILE))
            number = folders.setdefault(path.parent, len(folders))
            parts[f"{path.name} of model {number + 1}"] = text
    for one in rows:
        if one.role == SELECT:
            parts[f"rows of {one.name}"] = one.digest()
    parts.update(code(*SCORED_BY))
    parts["metric"] = metric
    return parts


def check(wanted: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Refuse to measure something else than the other workers do.

    Raises:
        HarnessError: what differs.
    """
    differing = differences(wanted, here)
    if differing:
        raise HarnessError(
            f"this worker would not measure what the search is about: {'; '.join(differing)}; give "
            "every machine the same models, data and versions, and say the device (--model_args "
            "device=cuda) where not all have a GPU"
        )
