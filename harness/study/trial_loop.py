# SPDX-License-Identifier: Apache-2.0
"""Keeps a pool busy with trials: asks, submits, takes outcomes, prunes and tells."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.show.numbers import duration
from harness.study import choose, interrupt
from harness.study.choose import Score, SectionScore
from harness.study.method_space import MethodSpace
from harness.study.recipe import Point
from harness.study.rungs import SHARES
from harness.study.space import Space
from harness.study.spec import Spec
from harness.study.trial_race import Racer, TrialRace
from harness.study.trials import Trials, measured
from harness.study.worker import Cost, Job, Outcome, Pool

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.pruners import BasePruner

MEDIAN, HALVING, NONE = "median", "halving", "none"
# Of trials that have finished, before the median of them says anything.
MEDIAN_FROM = 5
# So many failures in a row are no accident of single weights.
MOST_FAILURES = 5
# Values in a line of progress.
MOST_SHOWN = 4
# What is kept of a finished trial where there is a race: the values of its units.
UNITS = "units"


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
    params: dict[str, Any]
    point: Point
    jobs: Iterator[Job]  # that are still to come
    racer: Racer | None = None
    cost: Cost = field(default_factory=Cost)
    scored: int = 0
    share: float = 0.0  # of the rows that it has seen
    score: Score = field(default_factory=lambda: Score(math.nan, None, 0))  # on these
    sections: Sequence[SectionScore] = ()  # of a race's parts there are none
    error: str | None = None

    @property
    def seconds(self) -> float:
        return self.cost.merge_seconds + self.cost.score_seconds

    def take(self, outcome: Outcome, metric: str) -> None:
        """Add what a job gave."""
        self.cost = replace(
            outcome.cost,
            merge_seconds=self.cost.merge_seconds + outcome.cost.merge_seconds,
            score_seconds=self.cost.score_seconds + outcome.cost.score_seconds,
        )
        self.scored += outcome.scored
        self.share = outcome.job.share
        self.error = outcome.error
        if self.error is not None:
            return
        try:
            if self.racer is not None:
                self.racer.take(outcome)
                self.share, self.score = self.racer.share, self.racer.score
            if outcome.job.part is None:
                self.sections = choose.of_tasks(outcome.results, metric)
                self.score = choose.mean_score(self.sections)
        except HarnessError as error:  # a score that is no number
            self.error = " ".join(str(error).split())


def label_of(number: int) -> str:
    """How a trial is called."""
    return f"trial {number}"


def run_trials(
    trials: Trials,
    space: Space | MethodSpace,
    spec: Spec,
    pool: Pool,
    *,
    limit: int,
    timeout: float | None,
    prune: bool,
    race: TrialRace | None,
    say: Callable[[str], None],
) -> None:
    """Run trials until there have been enough, or the time is over.

    Args:
        trials: whom to ask and tell.
        space: what the numbers that are drawn mean.
        spec: whose recipe it is, and what the score is.
        pool: who measures.
        limit: how many trials there are to be, those of earlier runs included.
        timeout: seconds after which none is begun.
        prune: whether to look at parts of the rows first.
        race: by which poor trials are told, where not the study's pruner tells them.
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
            params = space.params(trial.params)
            point, label = spec.recipe.point(space.values(params)), label_of(trial.number)
            racer = race.enter(label, point) if race is not None else None
            shares = SHARES if prune else (1.0,)
            jobs = racer.jobs() if racer else (Job(label, point, share=one) for one in shares)
            begun = _Running(trial, params, point, iter(jobs), racer)
            job = next(begun.jobs)
            running[job.label] = begun
            pool.submit(job)
        if not running:
            return
        outcome = pool.next()
        interrupt.check()  # before a trial is told that it failed
        job = outcome.job
        running[job.label].take(outcome, spec.metric)
        state = _after(trials, running[job.label], job)
        if state is None:
            pool.submit(next(running[job.label].jobs))
            continue
        done = running.pop(job.label)
        score = done.score.value if state == "complete" else None
        counts = trials.tell(done.trial, score, state, _about(done))
        failed = failed + 1 if state == "fail" else 0
        if failed == MOST_FAILURES:
            raise HarnessError(f"{failed} trials failed one after another: {done.error}")
        if not counts:
            say(f"{job.label}: given up as lost by another run")
            continue
        seconds.append(done.seconds)
        rest = (limit - trials.begun + len(running)) * statistics.fmean(seconds) / pool.size
        say(_line(done, job.label, state) + (f", about {duration(rest)} left" if rest else ""))


def _after(trials: Trials, running: _Running, job: Job) -> str | None:
    """How a trial ends when this job is done; None if it goes on."""
    if running.error is not None:
        return "fail"
    if job.part is None and job.share == 1:
        return "complete"
    step = round(job.share / SHARES[0]) if job.part is None else job.part.number
    stop = trials.report(running.trial, running.score.value, step)
    if running.racer is not None:
        best = trials.best()
        values = measured(best).get(UNITS) if best is not None else None
        stop |= running.racer.has_lost(values, trials.rising)
    return "pruned" if stop else None


def _about(done: _Running) -> dict[str, Any]:
    about: dict[str, Any] = {
        "params": done.params,
        "values": dict(done.point.values),
        "seconds": done.seconds,
        "scored": done.scored,
        "share": done.share,
    }
    if done.error is not None:
        return {**about, "error": done.error}
    return {
        **about,
        "stderr": done.score.stderr,
        "items": done.score.items,
        "sections": [section.as_dict() for section in done.sections],
        **({UNITS: done.racer.kept} if done.racer and done.racer.kept else {}),
        **asdict(done.cost),
    }


def _line(done: _Running, label: str, state: str) -> str:
    shown = done.params if len(done.params) <= MOST_SHOWN else {}
    values = "".join(
        f"{name} {value if isinstance(value, str) else f'{value:g}'}, "
        for name, value in shown.items()
    )
    head = f"{label}: {values}"
    if done.error is not None:
        return f"{head}failed: {done.error}"
    score = done.score
    error = f" ± {score.stderr:.3f}" if score.stderr is not None else ""
    part = f", {state} at {done.share:.0%} of the rows" if state == "pruned" else ""
    return f"{head}{score.value:.3f}{error}, {duration(done.seconds)}{part}"
