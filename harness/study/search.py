# SPDX-License-Identifier: Apache-2.0
"""A search from recipe to proof: the plain sweep, the trials, then the report rows."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError

from harness.errors import HarnessError, first_line
from harness.show.naming import lambda_is
from harness.study import choose, identity, output, samplers, storage
from harness.study.interrupt import stoppable
from harness.study.measuring import Measurement, Measuring, TaskResult, Tell, opened
from harness.study.merged_model import MergedModel
from harness.study.method_space import MethodSpace
from harness.study.recipe import Point
from harness.study.rows import REPORT, SELECT, check_metric
from harness.study.search_summary import Searched, ranked, summary
from harness.study.space import Space
from harness.study.span import Span
from harness.study.spec import Plan, Spec
from harness.study.store import check_folder, told_if_full
from harness.study.trial_loop import NONE, label_of, pruner, run_trials
from harness.study.trial_race import RACE, TrialRace
from harness.study.trials import Trials, measured
from harness.study.worker import Job, Pool

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# So many trials are measured on the report rows.
TOP = 10


@dataclass(frozen=True)
class SearchPlan(Plan):
    """What a search was asked for.

    Attributes:
        spans: what may be tried of each parameter, by method; of one, or of several among which a
            search chooses.
        groups: see `dogerm_plugin.recipe.groups.parse`; None: one value for each domain model.
        step: of the grid.
        sampler: ``tpe``, ``cmaes``, ``random`` or ``grid``.
        trials: how many there are to be; a grid has as many as points.
        timeout: seconds after which no trial is begun.
        prune: ``race``, ``median``, ``halving`` or ``none``.
        baseline: the points of the plain sweep.
        storage: Optuna's URL; None: a file in the search's folder.
    """

    spans: Mapping[str, tuple[Span, ...]]
    groups: str | None
    step: Decimal | None
    sampler: str
    trials: int
    timeout: float | None
    prune: str
    baseline: Sequence[Point]
    storage: str | None


def search(
    plan: SearchPlan,
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
    race = TrialRace(plan.rows, plan.spec.metric) if plan.prune == RACE else None
    plan = replace(plan, spec=replace(plan.spec, methods=tuple(plan.spans)))
    model = MergedModel(plan.spec.recipe, plan.spec.settings, say, plan.spec.methods)
    space = _space(plan, model)
    sampler = samplers.sampler(plan.sampler, plan.seed, _points(space))
    with stoppable(say, "stopped; the same command goes on from here"), told_if_full(out):
        about = identity.identity(model, plan.rows, plan.spec.metric)
        spec = replace(plan.spec, identity=about)
        try:
            with opened(spec, plan.rows, model, out, say, pool_of) as measuring:
                rising, swept, best = _swept(plan, measuring, say)
                if race is not None:
                    race.check(swept[lambda_is(best.label)].runs)
                trials = Trials(
                    database or storage.connect_in(out),
                    {**about, **_asked(plan, space)},
                    space.drawn(),
                    sampler,
                    pruner(plan.prune),
                    rising,
                    f"{platform.node()}:{out.resolve()}",
                )
                tried = _run(trials, plan, space, measuring.pool, race, say)
                top = ranked(tried, rising)[:TOP]
                if not top:
                    raise HarnessError(_nothing(tried, plan))
                say(
                    f"best: {label_of(top[0].number)}; now the report rows, for the best {len(top)}"
                )
                points = [(label_of(one.number), point_of(plan, one)) for one in top]
                ends = {point.label: point for point in (plan.baseline[0], best)}
                points += [(lambda_is(label), point) for label, point in ends.items()]
                searched = Searched(
                    trials=tried,
                    top=top,
                    space=space,
                    swept=swept,
                    reported=measuring.measure(points, REPORT, _teller(plan, say)),
                    baseline=best,
                    rising=rising,
                )
                content = summary(plan, searched, out, time.perf_counter() - began)
                return content, output.write(content, out)
        except StorageInternalError as error:
            where = storage.masked(plan.storage or storage.in_folder(out))
            raise HarnessError(
                f"{where}: {first_line(error.__cause__ or error)}; finished trials are kept: "
                "see to the database or its disk, and run the same command again"
            ) from error


def point_of(plan: SearchPlan, trial: FrozenTrial) -> Point:
    """The point of a trial that was measured."""
    return plan.spec.recipe.point(measured(trial)["values"])


def _swept(
    plan: SearchPlan, measuring: Measuring, say: Callable[[str], None]
) -> tuple[bool, dict[str, Measurement], Point]:
    """Whether a larger score is better, the plain sweep, and its best point."""
    points = [(lambda_is(point.label), point) for point in plan.baseline]
    swept = measuring.measure(points, SELECT, _teller(plan, say))
    rising = swept[points[0][0]].tasks[0].rising
    called, best = points[choose.best([swept[name].score for name, _ in points], rising)]
    say(f"plain sweep: best at {called}; now the trials")
    return rising, swept, best


def _teller(plan: SearchPlan, say: Callable[[str], None]) -> Tell:
    """Tells of what is measured beside the trials, a line each."""

    def tell(job: Job, result: TaskResult, now: bool) -> None:
        if not now:
            return
        whole, cost = result.sections[0], result.cost
        error = f" ± {whole.stderr:.3f}" if whole.stderr is not None else ""
        of_task = f" of {result.task}" if len(plan.names(job.role)) > 1 else ""
        seconds = cost.merge_seconds + cost.score_seconds
        say(
            f"{job.label} on the {job.role} rows{of_task}: {whole.score:.3f}{error}  "
            f"({seconds:.0f} s)"
        )

    return tell


def _run(
    trials: Trials,
    plan: SearchPlan,
    space: Space | MethodSpace,
    pool: Pool,
    race: TrialRace | None,
    say: Callable[[str], None],
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
            plan.spec,
            pool,
            limit=len(_points(space)) or plan.trials,
            timeout=plan.timeout,
            prune=plan.prune != NONE,
            race=race,
            say=say,
        )
        return trials.all()
    finally:
        trials.close()


def _space(plan: SearchPlan, model: MergedModel) -> Space | MethodSpace:
    assigned = None
    if plan.groups is not None:
        from dogerm_plugin.recipe import groups

        assigned = groups.assign(model.layout, plan.groups)
    models = plan.spec.recipe.domain_models
    spaces = {
        method: Space(models, spans, assigned, plan.step) for method, spans in plan.spans.items()
    }
    if [*spaces] == [plan.spec.recipe.content["merge_method"]]:
        return spaces.popitem()[1]
    return MethodSpace(spaces)


def _points(space: Space | MethodSpace) -> list[dict[str, float]]:
    return space.points() if space.step is not None else []


def _asked(plan: SearchPlan, space: Space | MethodSpace) -> dict[str, str]:
    """What else than the scores a trial depends on."""
    return {
        **space.as_dict(),
        "sampler": plan.sampler,
        "seed": str(plan.seed),
        "pruning": plan.prune,
    }


def _nothing(trials: Sequence[FrozenTrial], plan: SearchPlan) -> str:
    errors = [measured(trial)["error"] for trial in trials if "error" in measured(trial)]
    if errors:
        return f"none of the {len(trials)} trials has a score: {errors[0]}"
    return f"no trial was completed in {plan.timeout} s; give it more time with --timeout"
