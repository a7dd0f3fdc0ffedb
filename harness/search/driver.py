# SPDX-License-Identifier: Apache-2.0
"""Keeps a pool busy with trials: asks, submits, takes outcomes, prunes and tells."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.search.plan import HALVING, MEDIAN
from harness.search.pool import Pool
from harness.search.rungs import SHARES
from harness.search.space import Space
from harness.search.study import Trials
from harness.search.worker import Job, Outcome
from harness.show.numbers import duration
from harness.study import interrupt

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner

# Of trials that have finished, before the median of them says anything.
MEDIAN_FROM = 5
# So many failures in a row are no accident of single weights.
MOST_FAILURES = 5
# λs in a line of progress.
MOST_SHOWN = 4


def pruner(kind: str) -> BasePruner | None:
    """Optuna's pruner of a name; steps are parts of the rows, in units of the smallest."""
    import optuna

    if kind == MEDIAN:
        return optuna.pruners.MedianPruner(n_startup_trials=MEDIAN_FROM)
    if kind == HALVING:
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return None


@dataclass
class _Running:
    trial: Trial
    lambdas: dict[str, float]
    weights: tuple[Any, ...]
    shares: list[float]  # that are still to come
    merging: float = 0.0  # seconds
    scoring: float = 0.0
    scored: int = 0

    def next_job(self) -> Job:
        return Job(label_of(self.trial.number), self.weights, self.shares.pop(0))


def label_of(number: int) -> str:
    """How a trial is called."""
    return f"trial {number}"


def run_trials(
    trials: Trials,
    space: Space,
    pool: Pool,
    *,
    limit: int,
    timeout: float | None,
    prune: bool,
    say: Callable[[str], None],
) -> None:
    """Run trials until there have been enough, or the time is over.

    Args:
        trials: whom to ask and tell.
        space: what the numbers that are drawn mean.
        pool: who measures.
        limit: how many trials there are to be, those of earlier runs included.
        timeout: seconds after which none is begun.
        prune: whether to look at parts of the rows first.
        say: told of every trial's end.

    Raises:
        HarnessError: trial after trial failed.
    """
    ends = time.monotonic() + timeout if timeout is not None else None
    running: dict[str, _Running] = {}
    seconds: list[float] = []
    failed = 0
    while True:
        while len(running) < pool.size and (ends is None or time.monotonic() < ends):
            trial = trials.ask(limit)
            if trial is None:
                break
            lambdas = space.lambdas(trial.params)
            shares = list(SHARES) if prune else [1.0]
            begun = _Running(trial, lambdas, space.weights(lambdas), shares)
            job = begun.next_job()
            running[job.label] = begun
            pool.submit(job)
        if not running:
            return
        outcome = pool.next()
        interrupt.check()  # before a trial is told that it failed
        label = outcome.job.label
        state = _after(trials, running[label], outcome)
        if state is None:
            pool.submit(running[label].next_job())
            continue
        done = running.pop(label)
        counts = trials.tell(
            done.trial,
            outcome.score if state == "complete" else None,
            state,
            _about(done, outcome),
        )
        failed = failed + 1 if state == "fail" else 0
        if failed == MOST_FAILURES:
            raise HarnessError(f"{failed} trials failed one after another: {outcome.error}")
        if not counts:
            say(f"{label}: given up as lost by another run")
            continue
        seconds.append(done.merging + done.scoring)
        rest = (limit - trials.begun + len(running)) * statistics.fmean(seconds) / pool.size
        say(_line(done, outcome, state) + (f", about {duration(rest)} left" if rest else ""))


def _after(trials: Trials, running: _Running, outcome: Outcome) -> str | None:
    """How a trial ends with this outcome; None if it goes on."""
    running.merging += outcome.merge_seconds
    running.scoring += outcome.score_seconds
    running.scored += outcome.scored
    if outcome.error is not None:
        return "fail"
    if not running.shares:
        return "complete"
    step = round(outcome.job.share / SHARES[0])
    return "pruned" if trials.report(running.trial, outcome.score, step) else None


def _about(done: _Running, outcome: Outcome) -> dict[str, Any]:
    about: dict[str, Any] = {
        "lambdas": done.lambdas,
        "weights": list(done.weights),
        "seconds": done.merging + done.scoring,
        "merge_seconds": done.merging,
        "scored": done.scored,
        "share": outcome.job.share,
    }
    if outcome.error is not None:
        return {**about, "error": outcome.error}
    return {
        **about,
        "stderr": outcome.stderr,
        "items": outcome.items,
        "sections": list(outcome.sections),
        "peak_memory": outcome.peak_memory,
        "model_bytes": outcome.model_bytes,
    }


def _line(done: _Running, outcome: Outcome, state: str) -> str:
    shown = done.lambdas if len(done.lambdas) <= MOST_SHOWN else {}
    weights = "".join(f"{name} {value:g}, " for name, value in shown.items())
    head = f"{label_of(done.trial.number)}: {weights}"
    if outcome.error is not None:
        return f"{head}failed: {outcome.error}"
    error = f" ± {outcome.stderr:.3f}" if outcome.stderr is not None else ""
    part = f", {state} at {outcome.job.share:.0%} of the rows" if state == "pruned" else ""
    return f"{head}{outcome.score:.3f}{error}, {duration(done.merging + done.scoring)}{part}"
