# SPDX-License-Identifier: Apache-2.0
"""One loaded model that measures merges: what a process, or an actor elsewhere, does for a search.

A `Spec` makes a `Worker` anywhere, a `Job` says what to measure, an `Outcome` has all that is
wanted of it: nothing is written but temporary files, so workers need no folder in common.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.runs.results import find_run
from harness.search import identity, rungs
from harness.search.remembering import Remembering
from harness.sweep import choose, machine
from harness.sweep import rows as rows_of_tasks
from harness.sweep.bench import Bench, Settings
from harness.sweep.evaluate import evaluate
from harness.sweep.rows import REPORT, SELECT, Rows
from harness.sweep.variants import Recipe

__all__ = ["REPORT", "SELECT", "Job", "Outcome", "Spec", "Worker"]


@dataclass(frozen=True)
class Spec:
    """What a worker needs to know; it can be pickled.

    Attributes:
        recipe: the recipe, as read.
        settings: how merges are loaded and scored.
        select: tasks that choose.
        report: tasks that prove.
        split: the share of the prompts of `select` that choose; the others are reported.
        metadata: as lm-eval's ``--metadata``.
        include_path: folders with a user's own tasks.
        metric: what the score is.
        identity: what the measurements are made with (`harness.search.identity`), where a worker
            is to refuse to measure anything else; empty: whatever is there.
    """

    recipe: Recipe
    settings: Settings
    select: tuple[str, ...]
    report: tuple[str, ...] = ()
    split: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    include_path: tuple[Path, ...] = ()
    metric: str = "accuracy"
    identity: Mapping[str, str] = field(default_factory=dict)

    def load_rows(self) -> list[Rows]:
        """The rows that choose and those that prove; see `harness.sweep.rows.load`."""
        return rows_of_tasks.load(
            self.select,
            self.report,
            split=self.split,
            include_path=self.include_path,
            metadata=self.metadata,
        )


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        label: names it: ``trial 17``, or λ for a point of the plain sweep.
        weights: one for each domain model: a number, or what mergekit takes for `weight`.
        share: of the selection rows, in 0..1; see `harness.search.rungs`.
        role: `SELECT` or `REPORT` of `harness.sweep.rows`.
        keep: whether the outcome has the run's files.
    """

    label: str
    weights: tuple[Any, ...]
    share: float = 1.0
    role: str = SELECT
    keep: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a job gave.

    Attributes:
        job: which.
        error: why there is no score (all else is empty then): a merge or a reward that is no
            finite number, a metric that the tasks lack.
        score: the mean over the tasks of the job's role.
        stderr: its standard error; None where lm-eval gives none.
        items: documents.
        sections: of the tasks, as `harness.sweep.choose.Section` has them.
        scored: conversations that were scored for this job.
        merge_seconds: to set the weights.
        score_seconds: to score the rows.
        peak_memory: resident memory of the worker's process, bytes.
        model_bytes: what the loaded model's tensors take.
        files: task -> file name -> content of the files of an lm-eval run, where ``job.keep``.
    """

    job: Job
    error: str | None = None
    score: float = 0.0
    stderr: float | None = None
    items: int = 0
    sections: tuple[dict[str, Any], ...] = ()
    scored: int = 0
    merge_seconds: float = 0.0
    score_seconds: float = 0.0
    peak_memory: int = 0
    model_bytes: int = 0
    files: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


class Worker:
    """Measures one job after another with one loaded model.

    Args:
        spec: what to measure with.
        bench: made already for `spec.recipe` and `spec.settings`.
        rows: loaded already.

    Raises:
        MergeError: the recipe's models don't make a merge.
        HarnessError: a task or an argument is wrong; or models, data or versions are not those of
            `spec.identity`.
    """

    def __init__(
        self, spec: Spec, bench: Bench | None = None, rows: Sequence[Rows] | None = None
    ) -> None:
        self._bench = bench or Bench(spec.recipe, spec.settings)
        self._rows = list(rows or spec.load_rows())
        self._spec = spec
        self._model: Remembering | None = None
        self._weights: tuple[Any, ...] | None = None
        self._told: set[tuple[str, str]] = set()
        if spec.identity:
            identity.check(spec.identity, identity.identity(self._bench, self._rows, spec.metric))

    def run(self, job: Job) -> Outcome:
        """Measure a merge; a mistake that only this job's merge makes is told in the outcome."""
        from dogerm_plugin.errors import MergeError

        self._bench.model  # noqa: B018  (loads it: a mistake in that is no trial's own)
        try:
            return self._measured(job)
        except (HarnessError, MergeError) as error:
            return Outcome(job, error=" ".join(str(error).split()))

    def _measured(self, job: Job) -> Outcome:
        model, seconds = self._set_to(job)
        began, before = time.perf_counter(), model.scored
        sections: list[choose.Section] = []
        files: dict[str, dict[str, bytes]] = {}
        for number, rows in enumerate(rows for rows in self._rows if rows.role == job.role):
            about = self._about(job, seconds if number == 0 else 0.0)
            with tempfile.TemporaryDirectory(prefix="dogerm-") as name:
                folder = Path(name)
                with rungs.part(rows, job.share):
                    evaluate(
                        model,
                        rows,
                        about,
                        machine.peak_memory,
                        folder,
                        warn=(rows.role, rows.name) not in self._told,
                    )
                self._told.add((rows.role, rows.name))
                run = find_run(folder)
                if job.keep:
                    files[rows.name] = {one.name: one.read_bytes() for one in folder.iterdir()}
            sections += choose.sections(run, self._spec.metric)
        score = choose.mean_score([section for section in sections if section.depth == 0])
        return Outcome(
            job=job,
            score=score.value,
            stderr=score.stderr,
            items=score.items,
            sections=tuple(section.as_dict() for section in sections),
            scored=model.scored - before,
            merge_seconds=seconds,
            score_seconds=time.perf_counter() - began,
            peak_memory=machine.peak_memory(),
            model_bytes=self._bench.model_bytes(),
            files=files,
        )

    def _set_to(self, job: Job) -> tuple[Remembering, float]:
        if self._model is None:
            self._model = Remembering(self._bench.model)
        if self._weights != job.weights:
            self._weights = None  # should it fail half-way
            self._model.forget()
        seconds = self._bench.set(job.weights)
        self._weights = job.weights
        return self._model, seconds

    def _about(self, job: Job, merge_seconds: float) -> dict[str, Any]:
        settings = self._spec.settings
        return {
            "model": "reward",
            "model_args": {**settings.model_args, "recipe": self._spec.recipe.path},
            "weights": list(job.weights),
            "batch_size": str(settings.batch_size),
            "merge_seconds": merge_seconds,
            "model_bytes": self._bench.model_bytes(),
        }
