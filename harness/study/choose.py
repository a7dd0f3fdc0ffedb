# SPDX-License-Identifier: Apache-2.0
"""Scores of a point and the rule that chooses among points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.errors import HarnessError
from harness.runs.group_tree import leaves_below, order_of

BEST, ONE_STANDARD_ERROR = "best", "one-standard-error"

# Differences of decimal fractions miss their last digits: 0.8 - 0.7 is more than 0.1.
_SLACK = 1e-9


@dataclass(frozen=True)
class SectionScore:
    """A task's or group's score as lm-eval reports it.

    Attributes:
        depth: how many groups it is in.
        stderr: standard error; None where lm-eval gives none.
        items: documents.
    """

    name: str
    depth: int
    is_group: bool
    score: float
    stderr: float | None
    items: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def sections(results: Mapping[str, Any], metric: str, where: object) -> list[SectionScore]:
    """The sections that have the metric, a group before its members.

    Args:
        results: lm-eval's, of one task or group.
        metric: ``NAME`` or ``NAME,FILTER``.
        where: the results are from, for messages.

    Raises:
        HarnessError: none has, the message names those there are; or a score is no finite number.
    """
    scores = results["results"]
    tree = results.get("group_subtasks", {})
    key = metric if "," in metric else f"{metric},none"
    name, _, rule = key.partition(",")
    with_metric = {section: metrics for section, metrics in scores.items() if key in metrics}
    if not with_metric:
        known = {
            k.removesuffix(",none") for metrics in scores.values() for k in metrics if "," in k
        }
        known = {one for one in known if "_stderr" not in one}
        raise HarnessError(
            f"{where}: no {metric} there (it has: {', '.join(sorted(known))}); choose with --metric"
        )
    for section, metrics in with_metric.items():
        if _number(metrics[key]) is None:
            raise HarnessError(
                f"{where}: the {metric} of {section} is {metrics[key]}, expected a finite number; "
                "choose another --metric"
            )
    counts = {task: metrics["effective"] for task, metrics in results["n-samples"].items()}
    return [
        SectionScore(
            name=section,
            depth=depth,
            is_group=section in tree,
            score=float(with_metric[section][key]),
            stderr=_number(with_metric[section].get(f"{name}_stderr,{rule}")),
            items=sum(counts.get(leaf, 0) for leaf in leaves_below(section, tree)),
        )
        for section, depth in order_of(tree, with_metric)
    ]


def of_tasks(results: Mapping[str, Mapping[str, Any]], metric: str) -> list[SectionScore]:
    """The scores of several tasks' sections.

    Args:
        results: task -> lm-eval's results.
        metric: see `sections`.
    """
    return [one for task, found in results.items() for one in sections(found, metric, task)]


def is_rising(results: Mapping[str, Any], metric: str) -> bool:
    """Whether a larger value of the metric is better, as lm-eval's results say of their tasks."""
    name = metric.partition(",")[0]
    directions = [one[name] for one in results["higher_is_better"].values() if name in one]
    return bool(directions[0]) if directions and directions[0] is not None else True


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@dataclass(frozen=True)
class Score:
    """What chooses: the plain mean over the selection tasks."""

    value: float
    stderr: float | None
    items: int


def mean_score(sections: Sequence[SectionScore]) -> Score:
    """The mean of several tasks' scores, and its standard error, as they are of unlike rows."""
    tops = [one for one in sections if one.depth == 0]
    errors = [one.stderr for one in tops]
    known = [error for error in errors if error is not None]
    stderr = math.hypot(*known) / len(tops) if len(known) == len(tops) else None
    return Score(math.fsum(s.score for s in tops) / len(tops), stderr, sum(s.items for s in tops))


def best(scores: Sequence[Score], rising: bool = True) -> int:
    """The index of the best score; of equal ones the first, which is that of the smallest total."""
    sign = 1 if rising else -1
    top = max(sign * score.value for score in scores)
    return next(i for i, score in enumerate(scores) if sign * score.value >= top - _SLACK)


def chosen(scores: Sequence[Score], rule: str, rising: bool = True) -> int:
    """The index that a rule chooses.

    Args:
        scores: in order of the weights' total.
        rule: `BEST`; or `ONE_STANDARD_ERROR`: the smallest total whose score is within one standard
            error (that of the best) of the best (Breiman et al., Classification and Regression
            Trees, 1984, section 3.4.3).
        rising: whether a larger score is better.
    """
    top = best(scores, rising)
    if rule == BEST:
        return top
    allowed = scores[top].stderr or 0.0
    return next(
        index
        for index, score in enumerate(scores)
        if abs(score.value - scores[top].value) <= allowed + _SLACK
    )
