# SPDX-License-Identifier: Apache-2.0
"""What a sweep found, as ``sweep.json`` holds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from harness.runs.results import find_run
from harness.show.naming import lambda_is
from harness.show.study_file import FORM
from harness.sweep import choose, machine, output, proof
from harness.sweep.plan import Plan
from harness.sweep.rows import REPORT, SELECT
from harness.sweep.store import Store
from harness.sweep.weights import Point


def place(point: Point, role: str) -> str:
    """Where a store has the measurements of a point on the rows of a role."""
    return f"{point.label}/{role}"


def measured_at(
    plan: Plan, store: Store, point: Point, role: str
) -> tuple[list[dict[str, Any]], list[choose.Section]]:
    """The run's own settings and the sections of every task of a role at a point."""
    configs, sections = [], []
    for rows in plan.rows_of(role):
        run = find_run(store.path(place(point, role), rows.name))
        (results,) = run.results.values()
        took = float(results["total_evaluation_time_seconds"])
        configs.append({**results["config"], "score_seconds": took})
        sections += choose.sections(run, plan.metric)
    return configs, sections


def summary(
    plan: Plan,
    store: Store,
    measured: Sequence[tuple[list[dict[str, Any]], list[choose.Section]]],
    scores: Sequence[choose.Score],
    picked: tuple[int, int],
    ends: Sequence[Point],
    seconds: float,
    rising: bool,
) -> dict[str, Any]:
    """All of ``sweep.json``, JSON types only.

    Args:
        plan: what was asked for.
        store: has every measurement.
        measured: of each point, its runs' settings and sections, as `measured_at` gives them.
        scores: of each point.
        picked: the indices of the best point and of the chosen one.
        ends: the points whose report rows were opened.
        seconds: how long this run took.
        rising: whether a larger score is better.
    """
    best, chosen = picked
    point = plan.points[chosen]
    reported = [(end, *measured_at(plan, store, end, REPORT)) for end in ends]
    configs = [c for found, _ in measured for c in found] + [c for _, f, _ in reported for c in f]
    runs = {
        end.label: [
            find_run(store.path(place(end, REPORT), rows.name)) for rows in plan.rows_of(REPORT)
        ]
        for end in ends
    }
    proven = None
    if point.total:
        zero = plan.points[0].label
        proven = {
            "a": zero,
            "b": point.label,
            **proof.compare_all(
                runs[zero],
                runs[point.label],
                plan.metric,
                seed=plan.seed,
                include_path=plan.include_path,
            ),
        }
    content = {
        "form": FORM,
        "kind": "sweep",
        "made": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": plan.command,
            "seconds": seconds,
            "scoring_seconds": sum(c["score_seconds"] for c in configs),
            "merging_seconds": sum(c["merge_seconds"] for c in configs),
            "peak_memory": {
                "resident": max(c["peak_memory"] for c in configs),
                "model": max(c["model_bytes"] for c in configs),
            },
            "versions": machine.versions(),
            "machine": machine.machine(),
            "model_args": dict(plan.settings.model_args),
            "batch_size": str(plan.settings.batch_size),
            "seed": plan.seed,
        },
        "recipe": {"path": plan.recipe.path, "text": plan.recipe.text},
        "reward_model": plan.recipe.reward_model,
        "domain_models": list(plan.recipe.domain_models),
        "metric": plan.metric,
        "higher_is_better": rising,
        "select": [rows.name for rows in plan.rows_of(SELECT)],
        "report": [rows.name for rows in plan.rows_of(REPORT)],
        "split": plan.split,
        "rule": plan.rule,
        "points": [
            {
                "label": point.label,
                "weights": point.as_floats(),
                "total": float(point.total),
                "score": score.value,
                "stderr": score.stderr,
                "items": score.items,
                "seconds": {
                    "merge": sum(c["merge_seconds"] for c in configs),
                    "score": sum(c["score_seconds"] for c in configs),
                },
                "sections": [section.as_dict() for section in sections],
            }
            for point, score, (configs, sections) in zip(plan.points, scores, measured, strict=True)
        ],
        "best": best,
        "chosen": chosen,
        "reported": [
            {
                "label": end.label,
                "weights": end.as_floats(),
                "total": float(end.total),
                "sections": [section.as_dict() for section in sections],
            }
            for end, _, sections in reported
        ],
        "proof": proven,
        "margins": proof.margins(runs),
        "notes": [
            *_notes(plan, scores, best, chosen),
            *_looked_at(store, ends),
            *_truncated(plan, store),
        ],
    }
    content["best_recipe"] = output.best_recipe(plan, content, store.folder)
    return content


def _notes(plan: Plan, scores: Sequence[choose.Score], best: int, chosen: int) -> Iterator[str]:
    point, top = plan.points[chosen], plan.points[best]
    if not point.total:
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
            f"{plan.metric} has no standard error on the selection rows: lm-eval gives none for a "
            "single row, nor for a group with a section of one row"
            + ("; the rule chose the best score" if plan.rule == choose.ONE_STANDARD_ERROR else "")
        )
    if point.total == 1:
        yield (
            f"at {lambda_is(point.label)} nothing of the reward model is left but its head: what "
            "changed there is not knowledge added to it"
        )
    if top.total and best == len(plan.points) - 1 and top.total < 1:
        yield f"the best weight, {top.label}, is the largest that was tried: try larger ones"
    if plan.split is not None:
        names = ", ".join(rows.name for rows in plan.rows_of(SELECT))
        yield (
            f"{names}: only the prompts that did not choose are reported; such figures can't be "
            "held against published ones"
        )


def _truncated(plan: Plan, store: Store) -> Iterator[str]:
    """A note on each task whose conversations did not fit; it is the same at every weight."""
    for rows in plan.rows:
        run = find_run(store.path(place(plan.points[0], rows.role), rows.name))
        found = [run.latest(leaf, "results") or {} for leaf in rows.leaves]
        count = sum(one.get("truncated,none", 0) for one in found)
        if count:
            yield (
                f"{count:g} rows of {rows.name} have a conversation that is longer than the model "
                "takes and lost its beginning"
            )


def _looked_at(store: Store, ends: Sequence[Point]) -> Iterator[str]:
    """A note where earlier runs opened report rows at other weights."""
    there = {path.parent.name for path in store.results.glob(f"*/{REPORT}")}
    others = sorted(there - {end.label for end in ends})
    if others:
        yield (
            f"earlier runs in this folder measured report rows at other weights, too "
            f"({'; '.join(others)}): a choice made after a look at them is no longer proven by them"
        )
