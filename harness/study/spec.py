# SPDX-License-Identifier: Apache-2.0
"""What a study is asked for: what to measure with, whatever proposes the points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.study import rows as rows_of_tasks
from harness.study.recipe import StudyRecipe
from harness.study.rows import Rows


@dataclass(frozen=True)
class Settings:
    """How the merge is loaded and scored.

    Attributes:
        model_args: as lm-eval's ``--model_args`` for ``--model reward``, without ``pretrained``.
        batch_size: as lm-eval's.
        merge_options: of mergekit's `MergeOptions`, such as ``trust_remote_code``.
    """

    model_args: Mapping[str, Any] = field(default_factory=dict)
    batch_size: str = "auto"
    merge_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """What a worker needs to know; it can be pickled.

    Attributes:
        recipe: the recipe, as read.
        settings: how merges are loaded and scored.
        select: tasks that choose.
        report: tasks that prove.
        split: the share of the prompts of `select` that choose; the others are reported. None: all.
        metadata: as lm-eval's ``--metadata``.
        include_path: folders with a user's own tasks.
        metric: what the score is.
        identity: what the measurements are made with (`harness.study.identity`), where a worker
            is to refuse to measure anything else; empty: whatever is there.
        methods: by which points may be merged, beside the recipe's own.
    """

    recipe: StudyRecipe
    settings: Settings
    select: tuple[str, ...]
    report: tuple[str, ...] = ()
    split: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    include_path: tuple[Path, ...] = ()
    metric: str = "accuracy"
    identity: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ()

    def load_rows(self) -> list[Rows]:
        """The rows that choose and those that prove; see `harness.study.rows.load`."""
        return rows_of_tasks.load(
            self.select,
            self.report,
            split=self.split,
            include_path=self.include_path,
            metadata=self.metadata,
        )


@dataclass(frozen=True)
class Plan:
    """What a user asked for, be it a sweep or a search.

    Attributes:
        spec: what is measured, and how.
        rows: those of the spec, loaded.
        seed: of the resampling, and of what draws points.
        command: as it was typed.
    """

    spec: Spec
    rows: Sequence[Rows]
    seed: int
    command: str

    def names(self, role: str) -> list[str]:
        """The tasks of a role."""
        return [one.name for one in self.rows if one.role == role]
