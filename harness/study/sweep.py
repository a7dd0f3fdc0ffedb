# SPDX-License-Identifier: Apache-2.0
"""A sweep from recipe to choice: measure the selection rows, choose, then open the report rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.show.naming import lambda_is
from harness.study import choose, grid, output, proof
from harness.study.interrupt import stoppable
from harness.study.measuring import Measurement, Measuring, Tell, opened
from harness.study.merged_model import MergedModel
from harness.study.progress import Progress
from harness.study.race import Race
from harness.study.raced import Raced, seconds_of, where
from harness.study.recipe import UNMERGED, Point, StudyRecipe, each, strength_of
from harness.study.rows import REPORT, SELECT, check_metric
from harness.study.spec import Plan
from harness.study.store import RESULTS, check_folder, told_if_full
from harness.study.worker import Cost


@dataclass(frozen=True)
class SweepPlan(Plan):
    """What a sweep was asked for.

    Attributes:
        points: what to try, as `grid.points` gives it: the reward model itself first.
        rule: of `harness.study.choose`.
        race: what drops points before they are measured in full, of `harness.study.racing`; None:
            nothing.
    """

    points: Sequence[Point]
    rule: str
    race: str | None = None


@dataclass(frozen=True)
class Swept:
    """What a sweep measured and chose.

    Attributes:
        measured: the selection rows at each point that was not dropped.
        reported: the report rows at the ends and at the chosen point.
        best: the index of the one with the best score.
        chosen: the index of the one that the rule chose.
        rising: whether a larger score is better.
        looked_at: the labels of other points whose report rows earlier runs opened.
    """

    measured: Sequence[Measurement]
    reported: Sequence[Measurement]
    best: int
    chosen: int
    rising: bool
    looked_at: Sequence[str]
    raced: Raced | None = None

    def costs_at(self, measured: Measurement) -> list[Cost]:
        """What a point's selection rows took; in a race its parts, too."""
        parts = self.raced.costs[measured.point.label] if self.raced else []
        return [*parts, *measured.costs]


def sweep(
    plan: SweepPlan, out: Path, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Path]]:
    """Measure, choose, prove and write; a killed sweep goes on where it stopped.

    Args:
        plan: what was asked for.
        out: the folder; ``results/`` in it has every measurement, each by itself.
        say: told of progress, a line at a time.

    Returns:
        What ``sweep.json`` holds, and the files that were written.

    Raises:
        HarnessError: a metric that a task lacks, or by which there is no race; a folder that can't
            be worked in; a full disk; a reward that is no finite number.
        MergeError: the recipe or its models don't make a merge.
    """
    began = time.perf_counter()
    check_metric(plan.rows, plan.spec.metric)
    check_folder(out)
    stopped = f"stopped; the same command goes on from what is in {out / RESULTS}"
    with stoppable(say, stopped), told_if_full(out):
        model = MergedModel(plan.spec.recipe, plan.spec.settings, say)
        with opened(plan.spec, plan.rows, model, out, say) as measuring:
            swept = _swept(plan, measuring, say)
            content = summary(plan, swept, out, time.perf_counter() - began)
            return content, output.write(content, out)


def _swept(plan: SweepPlan, measuring: Measuring, say: Callable[[str], None]) -> Swept:
    def told(points: Sequence[Point], role: str) -> Tell:
        return Progress(say, plan.spec.metric, len(points) * len(plan.names(role))).tell

    def measure(points: Sequence[Point], role: str) -> list[Measurement]:
        named = [(lambda_is(point.label), point) for point in points]
        return list(measuring.measure(named, role, told(points, role)).values())

    raced = None
    if plan.race is not None:
        race = Race(measuring, plan.rows, plan.spec.metric, plan.race, say)
        raced = race.run(plan.points, lambda alive: told(alive, SELECT))
    measured = raced.measured if raced else measure(plan.points, SELECT)
    scores = [one.score for one in measured]
    rising = measured[0].tasks[0].rising
    chosen = choose.chosen(scores, plan.rule, rising)
    point = measured[chosen].point
    looked_at = {one.label for one in (*grid.ends(plan.points), point)}
    ends = [one for one in plan.points if one.label in looked_at]
    labels = ", ".join(lambda_is(one.label) for one in ends)
    say(f"chosen: {lambda_is(point.label)}; now the report rows, at {labels}")
    return Swept(
        measured=measured,
        reported=measure(ends, REPORT),
        best=choose.best(scores, rising),
        chosen=chosen,
        rising=rising,
        looked_at=sorted(measuring.store.labels(REPORT) - looked_at),
        raced=raced,
    )


def summary(plan: SweepPlan, swept: Swept, out: Path, seconds: float) -> dict[str, Any]:
    """All of ``sweep.json``, JSON types only.

    Args:
        plan: what was asked for.
        swept: what was measured and chosen.
        out: the folder.
        seconds: how long this run took.
    """
    chosen = swept.measured[swept.chosen]
    costs = [cost for one in swept.measured for cost in swept.costs_at(one)]
    costs += [cost for one in swept.reported for cost in one.costs]
    costs += [cost for one in (swept.raced.dropped if swept.raced else ()) for cost in one.costs]
    content = {
        **output.facts("sweep", plan, costs, seconds, swept.rising),
        "rule": plan.rule,
        "points": [
            {
                **_scored(one),
                "score": one.score.value,
                "stderr": one.score.stderr,
                "items": one.score.items,
                "seconds": seconds_of(swept.costs_at(one)),
            }
            for one in swept.measured
        ],
        **({"race": swept.raced.as_dict(str(plan.race))} if swept.raced else {}),
        "best": swept.best,
        "chosen": swept.chosen,
        "reported": [_scored(one) for one in swept.reported],
        "proof": _proof(plan, swept, chosen.point),
        "margins": _margins(swept),
        "notes": [*_notes(plan, swept), *_looked_at(swept), *_truncated(swept)],
    }
    how = f", rule: {plan.rule}, {len(plan.points)} weights tried"
    best = lambda_is(chosen.point.label), chosen.point, chosen.score
    content["best_recipe"] = output.best_recipe(plan, content, best, how, out)
    return content


def _scored(measured: Measurement) -> dict[str, Any]:
    """Which point it is, where a plot shows it, and its scores."""
    sections = [section.as_dict() for section in measured.sections]
    return {**where(measured.point), "sections": sections}


def _margins(swept: Swept) -> dict[str, Any] | None:
    """How far apart chosen and rejected are at each point of the report rows, by its label."""
    drawn = proof.margins([one.runs for one in swept.reported])
    if drawn is None:
        return None
    labels = [one.point.label for one in swept.reported]
    for key in ("counts", "mean"):
        drawn[key] = dict(zip(labels, drawn[key], strict=True))
    return drawn


def _proof(plan: SweepPlan, swept: Swept, chosen: Point) -> dict[str, Any] | None:
    """The chosen point against the reward model on the report rows."""
    if chosen.at_rest:
        return None
    by_label = {one.point.label: one for one in swept.reported}
    zero = plan.points[0].label
    return {
        "a": zero,
        "b": chosen.label,
        **proof.compare_all(
            by_label[zero].runs,
            by_label[chosen.label].runs,
            plan.spec.metric,
            seed=plan.seed,
            include_path=plan.spec.include_path,
        ),
    }


def _notes(plan: SweepPlan, swept: Swept) -> Iterator[str]:
    best, chosen = swept.best, swept.chosen
    point, top = swept.measured[chosen].point, swept.measured[best].point
    whole = _most(plan.spec.recipe)
    scores = [one.score for one in swept.measured]
    if point.at_rest:
        yield (
            f"the choice is {_itself(point)}: on the selection rows no merge "
            + ("that was left in the race " if swept.raced and swept.raced.dropped else "")
            + "is better than it"
            if chosen == best
            else f"the choice is {_itself(point)}: on the selection rows it is within one standard "
            "error of the best merge"
        )
    elif abs(scores[chosen].value - scores[0].value) <= (scores[chosen].stderr or 0.0):
        yield (
            f"on the selection rows {lambda_is(point.label)} is within one standard error of the "
            "reward model itself: the choice among them is mostly chance"
        )
    if scores[best].stderr is None:
        yield (
            f"{plan.spec.metric} has no standard error on the selection rows: lm-eval gives none "
            "for a single row, nor for a group with a section of one row"
            + ("; the rule chose the best score" if plan.rule == choose.ONE_STANDARD_ERROR else "")
        )
    if point.distance == whole:
        yield (
            f"at {lambda_is(point.label)} nothing of the reward model is left but its head: what "
            "changed there is not knowledge added to it"
        )
    if not top.at_rest and top == plan.points[-1] and 0 < top.distance < whole:
        yield f"the best, {lambda_is(top.label)}, is the largest that was tried: try larger ones"
    yield from output.divided(plan)


def _most(recipe: StudyRecipe) -> float:
    """How far from the reward model a merge can be; infinite where nothing bounds it."""
    one = strength_of(recipe.method) if not recipe.axis else recipe.strength
    is_share = one is not None and (one.most_in_sum is not None or one.at_rest is not None)
    if one is None or not (is_share or one.name == "t"):
        return math.inf
    models = len(recipe.domain_models) if each(one) else 1
    return one.high * models if one.most_in_sum is None else one.most_in_sum


def _itself(point: Point) -> str:
    """`λ = 0, the reward model itself`, or that alone where no number says it."""
    return (
        "the reward model itself"
        if point.label == UNMERGED
        else (f"{lambda_is(point.label)}, the reward model itself")
    )


def _truncated(swept: Swept) -> Iterator[str]:
    """A note on each task whose conversations did not fit; it is the same at every point."""
    for result in (*swept.measured[0].tasks, *swept.reported[0].tasks):
        if result.truncated:
            yield (
                f"{result.truncated} rows of {result.task} have a conversation that is longer than "
                "the model takes and lost its beginning"
            )


def _looked_at(swept: Swept) -> Iterator[str]:
    """A note where earlier runs opened report rows at other points."""
    if swept.looked_at:
        yield (
            f"earlier runs in this folder measured report rows at other weights, too "
            f"({'; '.join(swept.looked_at)}): a choice made after a look at them is no longer "
            "proven by them"
        )
