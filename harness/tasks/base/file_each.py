# SPDX-License-Identifier: Apache-2.0
"""Leaves that are a data set each: every one has a local file, or a folder, of its own.

Its ``dataset_kwargs.benchmark`` is ``<benchmark>-<part>``. What local data there is of a benchmark
is all that is evaluated of it, so that nothing is asked of the Hub for the parts that it lacks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.rows.local_files import ENVIRONMENT, local_files, stem
from harness.tasks.base.benchmark_rows import takes_the_hubs
from harness.tasks.base.candidates import CandidateTask
from harness.tasks.base.sections import AbsentSubset


def absent(config: Any) -> AbsentSubset | None:
    """What stands for a leaf whose benchmark has local data, and none of this leaf's.

    Args:
        config: the YAML's keys, or None.
    """
    metadata = (config or {}).get("metadata") or {}
    given = metadata.get("data_dir") or os.environ.get(ENVIRONMENT)
    if config is None or not given or takes_the_hubs(metadata):
        return None
    own, folder = config["dataset_kwargs"]["benchmark"], Path(given).expanduser()
    beginning = f"{own.partition('-')[0]}-"
    others = sorted({stem(path) for path in folder.glob(f"{beginning}*") if _is_data(path)})
    if not others or local_files(own, folder):
        return None
    return AbsentSubset.of(config["task"], own, given, others)


def _is_data(path: Path) -> bool:
    return bool(local_files(stem(path), path.parent))


class FileEach(CandidateTask):
    """A leaf with local data of its own, absent where only other leaves have some."""

    def __new__(cls, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The task, or an `AbsentSubset`."""
        stands_for = absent(config)
        if stands_for is not None:
            return stands_for
        return super().__new__(cls, *args, config=config, **kwargs)
