# SPDX-License-Identifier: Apache-2.0
"""A search from recipe to proof: the plain sweep, the trials, then the report rows."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError

from harness.errors import HarnessError, first_line
from harness.runs.identity import code
from harness.search import identity, samplers, storage
from harness.search.driver import label_of, pruner, run_trials
from harness.search.found import Found, ranked, sweep_label
from harness.search.kept import Keeper
from harness.search.plan import NONE, Plan
from harness.search.pool import LocalPool, Pool
from harness.search.space import Space
from harness.search.study import Trials, measured
from harness.search.summary import summary
from harness.search.worker import Job, Spec, Worker
from harness.show import study_output
from harness.study.interrupt import stoppable
from harness.sweep import choose
from harness.sweep.bench import Bench
from harness.sweep.rows import REPORT, check_metric
from harness.sweep.store import Store, check_folder, told_if_full

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


# So many trials are measured on the report rows.
TOP = 10


def search(
    plan: Plan,
    out: Path,
    say: Callable[[str], None],
    pool_of: Callable[[Spec], Pool] | None = None,
) -> tuple[dict[str, Any], list[Path]]:
    """Measure the plain sweep, search, prove the best and write; a killed search goes on.

    Args:
        plan: what was asked for.
        out: the folder.
        say: told of progress, a line at a time.
        pool_of: makes the workers; by default one in this process.

    Returns:
        What ``search.json`` holds, and the files that were written.

    Raises:
        HarnessError: bounds, groups or a metric that make no sense here; a folder or a storage
            that can't be worked in; no trial that could be measured; a full disk.
        MergeError: the recipe or its models don't make a merge.
    """
    began = time.perf_counter()
    check_metric(plan.rows, plan.spec.metric)
    check_folder(out)
    # One of the user's own is tried before anything is read; that in `out` is made after the store.
    database = storage.connect(plan.storage) if plan.storage else None
    bench = Bench(plan.spec.recipe, plan.spec.settings, say)
    space = _space(plan, bench)
    sampler = samplers.sampler(plan.sampler, plan.seed, _points(space))
    with stoppable(say, "stopped; the same command goes on from here"), told_if_full(out):
        store = Store(out, {**bench.made_with, **code(Worker.__module__)})
        pool: Pool | None = None
        try:
            for line in store.news():
                say(line)
            about = identity.identity(bench, plan.rows, plan.spec.metric)
            spec = replace(plan.spec, identity=about)
            pool = pool_of(spec) if pool_of else LocalPool(Worker(spec, bench, plan.rows))
            keeper = Keeper(store, plan.rows, spec.metric, pool, say)
            sweep = [Job(sweep_label(point), tuple(point.as_floats())) for point in plan.baseline]
            swept = keeper.measure(sweep)
            rising = keeper.rising(swept[sweep[0].label])
            best = choose.best([swept[job.label].score for job in sweep], rising)
            say(f"plain sweep: best at {sweep[best].label}; now the trials")
            trials = Trials(
                database or storage.connect_in(out),
                {**about, **_asked(plan, space)},
                space.parameters(),
                sampler,
                pruner(plan.prune),
                rising,
                f"{platform.node()}:{out.resolve()}",
            )
            tried = _run(trials, plan, space, pool, say)
            top = ranked(tried, rising)[:TOP]
            if not top:
                raise HarnessError(_nothing(tried, plan))
            say(f"best: {label_of(top[0].number)}; now the report rows, for the best {len(top)}")
            named = {label_of(one.number): tuple(measured(one)["weights"]) for one in top}
            jobs = [Job(label, weights, role=REPORT) for label, weights in named.items()]
            jobs += [replace(sweep[index], role=REPORT) for index in dict.fromkeys((0, best))]
            found = Found(
                trials=tried,
                top=top,
                space=space,
                swept=swept,
                reported=keeper.measure(jobs),
                baseline=plan.baseline[best],
                rising=rising,
            )
            content = summary(plan, found, out, time.perf_counter() - began)
            return content, study_output.write(content, out)
        except StorageInternalError as error:
            where = storage.masked(plan.storage or storage.in_folder(out))
            raise HarnessError(
                f"{where}: {first_line(error.__cause__ or error)}; finished trials are kept: "
                "see to the database or its disk, and run the same command again"
            ) from error
        finally:
            if pool is not None:
                pool.close()
            store.close()


def _run(
    trials: Trials, plan: Plan, space: Space, pool: Pool, say: Callable[[str], None]
) -> list[FrozenTrial]:
    """All trials of the study, when there are enough."""
    if trials.nearest is not None:
        say(
            f"a new study, {trials.name}, as that of the earlier trials, {trials.nearest}, is "
            f"about something else: {'; '.join(trials.changed)}"
        )
    try:
        run_trials(
            trials,
            space,
            pool,
            limit=len(_points(space)) or plan.trials,
            timeout=plan.timeout,
            prune=plan.prune != NONE,
            say=say,
        )
        return trials.all()
    finally:
        trials.close()


def _space(plan: Plan, bench: Bench) -> Space:
    assigned = None
    if plan.groups is not None:
        from dogerm_plugin.recipe import groups

        assigned = groups.assign(bench.layout, plan.groups)
    models = plan.spec.recipe.domain_models
    return Space(models, assigned, plan.low, plan.high, plan.step)


def _points(space: Space) -> list[dict[str, float]]:
    return space.points() if space.step is not None else []


def _asked(plan: Plan, space: Space) -> dict[str, str]:
    """What else than the scores a trial depends on."""
    return {
        **space.as_dict(),
        "sampler": plan.sampler,
        "seed": str(plan.seed),
        "pruning": plan.prune,
    }


def _nothing(trials: Sequence[FrozenTrial], plan: Plan) -> str:
    errors = [measured(trial)["error"] for trial in trials if "error" in measured(trial)]
    if errors:
        return f"none of the {len(trials)} trials has a score: {errors[0]}"
    return f"no trial was completed in {plan.timeout} s; give it more time with --timeout"
