# SPDX-License-Identifier: Apache-2.0
"""Section and overall scores of a benchmark, inside lm-eval's groups.

lm-eval averages a group over all leaf tasks below it, however they are nested, and knows no weight
but the number of rows. RewardBench needs the mean of four sections, and one subset whose weight is
not its row count. lm-eval's `AggMetricConfig` documents that ``aggregation`` "may also be a custom
callable", but `Group.aggregate` never calls it; `honour_callables` makes it do so. A YAML of this
project names its callable in this module, so reading the YAML installs it: there is no way to get
the unweighted number by accident.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.group import Group

from harness.errors import HarnessError
from harness.rows.answer import kind_suffix
from harness.tasks.base.metrics import weighted_mean, weighted_standard_error
from harness.tasks.base.routed import ROUTER, SHARE

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold


@dataclass(frozen=True)
class Member:
    """A direct member of a group: a leaf task, or a section.

    Attributes:
        value: its metric.
        error: the metric's standard error, or None.
        weight: its ``metadata.weight``; without one, the number of rows of a leaf and 1 for a
            section.
    """

    name: str
    value: float
    error: float | None
    weight: float


def by_weight(members: Sequence[Member]) -> tuple[float, float | None]:
    """A section: the weighted mean of its subsets, and its standard error."""
    return _combine(members, [member.weight for member in members])


def mean_of_members(members: Sequence[Member]) -> tuple[float, float | None]:
    """An overall score: the unweighted mean of the direct members, and its standard error."""
    return _combine(members, [1.0] * len(members))


def total(members: Sequence[Member]) -> tuple[float, float | None]:
    """The sum of counts, which has no standard error."""
    return round(sum(member.value for member in members)), None


def _combine(members: Sequence[Member], weights: list[float]) -> tuple[float, float | None]:
    errors = [member.error for member in members if member.error is not None]
    error = weighted_standard_error(errors, weights) if len(errors) == len(members) else None
    return weighted_mean([member.value for member in members], weights), error


class AbsentSubset(Group):
    """Stands where a leaf task would, when the local data has no row of its subset.

    An empty group: lm-eval runs nothing for it, shows no number, and leaves it out of every mean.
    """

    @classmethod
    def of(cls, task: str, subset: str, source: str, present: Sequence[str]) -> AbsentSubset:
        """The absent leaf `task`; `present` are the subsets that `source` does have."""
        group = cls(name=task, alias=f"{task} (absent)")
        group.metadata = {"subset": subset, "source": source, "present": list(present)}
        return group

    def aggregate(self, task_metrics: Any) -> Any:
        """Give lm-eval's table the alias alone, as there is no number.

        Raises:
            HarnessError: no requested task had data, so there is nothing to report at all.
        """
        if not any("sample_len" in metrics for metrics in task_metrics.values()):
            about = self.metadata or {}
            raise HarnessError(
                f"nothing to evaluate: {about['source']} has no rows of subset {about['subset']} "
                f"(it has: {', '.join(about['present'])}); choose other tasks or give other data"
            )
        return super().aggregate(task_metrics)


def honour_callables() -> None:
    """Make lm-eval's `Group.aggregate` call an ``aggregation`` that is a callable.

    The callable gets the direct `Member`s that have the metric. Groups whose ``aggregation`` is
    ``mean`` are untouched. To be retired once lm-eval calls the callable itself.
    """
    if hasattr(Group.aggregate, "honours_callables"):
        return
    original = Group.aggregate

    @functools.wraps(original)
    def aggregate(self: Group, task_metrics: Any) -> Any:
        own = self.aggregate_metric_list
        declared = _with_routed(self)
        custom = [agg for agg in declared or () if callable(agg.aggregation)]
        # A metric that a model does not give (a language model does not tell what it truncated)
        # is no row of the table; lm-eval would warn of each.
        silent = [agg for agg in custom if not _given(self, agg.metric, task_metrics)]
        try:
            self.aggregate_metric_list = [agg for agg in declared or () if agg not in silent]
            result: dict[str, Any] = dict(original(self, task_metrics))
        finally:
            self.aggregate_metric_list = own
        for config in custom:
            for key in [key for key in result if key.startswith(f"{config.metric},")]:
                error_key = key.replace(",", "_stderr,", 1)
                members = _members(self, key, error_key, task_metrics)
                result[key], error = config.aggregation(members)
                result[error_key] = "N/A" if error is None else error
        if custom:
            kinds = {kind for leaf in self.get_all_tasks() for kind in getattr(leaf, "kinds", ())}
            result["alias"] = f"{result['alias']}{kind_suffix(kinds)}"
            _tell_if_partial(self, result)
        return result

    aggregate.honours_callables = True  # type: ignore[attr-defined]
    Group.aggregate = aggregate


def _with_routed(group: Group) -> list[Any] | None:
    """The metrics of a group, and those that a routed model gives its tasks beside the first."""
    declared = group.aggregate_metric_list
    if not declared or not callable(declared[0].aggregation):
        return declared
    first = declared[0]
    names = {name for leaf in group.get_all_tasks() for name in getattr(leaf, "routed", ())}
    beside = (f"{first.metric}_", f"{SHARE}_")
    like = sorted(n for n in names if n == ROUTER or n.startswith(beside))
    return [*declared, *(replace(first, metric=name) for name in like)]


def _given(group: Group, metric: str, task_metrics: Any) -> bool:
    leaves = [task_metrics.get(task.task_name, {}) for task in group.get_all_tasks()]
    return any(key.startswith(f"{metric},") for leaf in leaves for key in leaf)


def _members(group: Group, key: str, error_key: str, task_metrics: Any) -> list[Member]:
    members = []
    for child in group:
        name = child.name if isinstance(child, Group) else child.task_name
        metrics = task_metrics.get(name, {})
        if key not in metrics:
            continue
        is_group = isinstance(child, Group)
        metadata = (child.metadata if is_group else child.config.metadata) or {}
        weight = float(metadata.get("weight", 1.0 if is_group else metrics.get("sample_len", 0)))
        error = metrics.get(error_key)
        error = float(error) if isinstance(error, (int, float)) else None
        members.append(Member(name, float(metrics[key]), error, weight))
    return members


def _is_empty(member: Any) -> bool:
    """Whether a member is a section without a single task, so that the mean goes without it."""
    is_section = isinstance(member, Group) and not isinstance(member, AbsentSubset)
    return is_section and not member.get_all_tasks()


def _tell_if_partial(group: Group, result: dict[str, Any]) -> None:
    """Say in the log and in the table which leaves a score does without."""
    absent = [leaf.name for leaf in group.get_all_groups() if isinstance(leaf, AbsentSubset)]
    if not absent:
        return
    present = len(group.get_all_tasks())
    what = f"{present} of {present + len(absent)} subsets"
    empty = [section.name for section in group if _is_empty(section)]
    if empty:
        what += f", none of {', '.join(empty)}"
    if present:
        result["alias"] = f"{result['alias']} (partial: {what})"
        logger.warning("%s is partial, over %s; absent: %s", group.name, what, ", ".join(absent))
    else:
        logger.warning("%s has no data and is left out", group.name)


honour_callables()
