# SPDX-License-Identifier: Apache-2.0
"""What a sweep found, as ``sweep.json`` holds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.show.naming import lambda_is
from harness.study import choose, proof
from harness.study.facts import best_recipe, divided, facts
from harness.study.measurement import Measurement
from harness.study.point import Point

if TYPE_CHECKING:
    from harness.study.sweep import SweepPlan, Swept


def summary(plan: SweepPlan, swept: Swept, out: Path, seconds: float) -> dict[str, Any]:
    """All of ``sweep.json``, JSON types only.

    Args:
        plan: what was asked for.
        swept: what was measured and chosen.
        out: the folder.
        seconds: how long this run took.
    """
    chosen = swept.measured[swept.chosen]
    costs = [cost for one in (*swept.measured, *swept.reported) for cost in one.costs]
    content = {
        **facts("sweep", plan, costs, seconds, swept.rising),
        "rule": plan.rule,
        "points": [
            {
                **_place(one),
                "score": one.score.value,
                "stderr": one.score.stderr,
                "items": one.score.items,
                "seconds": {
                    "merge": sum(cost.merge_seconds for cost in one.costs),
                    "score": sum(cost.score_seconds for cost in one.costs),
                },
                "sections": [section.as_dict() for section in one.sections],
            }
            for one in swept.measured
        ],
        "best": swept.best,
        "chosen": swept.chosen,
        "reported": [
            {**_place(one), "sections": [section.as_dict() for section in one.sections]}
            for one in swept.reported
        ],
        "proof": _proof(plan, swept, chosen.point),
        "margins": proof.margins({one.point.label: one.runs for one in swept.reported}),
        "notes": [*_notes(plan, swept), *_looked_at(swept), *_truncated(swept)],
    }
    how = f", rule: {plan.rule}, {len(plan.points)} weights tried"
    best = lambda_is(chosen.point.label), chosen.point, chosen.score
    content["best_recipe"] = best_recipe(plan, content, best, how, out)
    return content


def _place(measured: Measurement) -> dict[str, Any]:
    """Which point it is, and where a plot shows it."""
    point = measured.point
    place = {
        "label": point.label,
        "weights": list(point.strengths),
        "total": point.distance,
    }
    return place if len(point.values) == 1 else {**place, "params": dict(point.values)}


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
    point, top = plan.points[chosen], plan.points[best]
    whole = plan.spec.recipe.most
    scores = [one.score for one in swept.measured]
    if point.at_rest:
        yield (
            "the chosen weight is 0: on the selection rows no merge is better than the reward "
            "model itself"
            if chosen == best
            else "the chosen weight is 0: on the selection rows the reward model itself is within "
            "one standard error of the best merge"
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
    if not top.at_rest and best == len(plan.points) - 1 and top.distance < whole:
        yield f"the best weight, {top.label}, is the largest that was tried: try larger ones"
    yield from divided(plan)


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
