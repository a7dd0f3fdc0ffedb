# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side: items matched, every task and group compared, what differs written down.

Rules. The difference is B − A. Items are matched by lm-eval's ``doc_id`` and must be the same
document (``doc_hash``); what only one run has is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.compare import hierarchy, statistics
from harness.compare.matching import Matched, agrees, match, nothing_in_common
from harness.compare.paired import NOISE, PairedComparison, PairedDifference, PairedStatistics
from harness.compare.verdicts import alpha_of, judged, too_few_resamples
from harness.errors import HarnessError
from harness.runs.group_tree import order_of
from harness.runs.results import Run
from harness.tasks.base.metrics import COUNTS


@dataclass(frozen=True)
class Flip:
    """An item whose value is not the same under both models; margins where the task has them."""

    doc_id: int
    a: float
    b: float
    margin_a: float | None
    margin_b: float | None
    prompt: str


class ComparedSection(PairedDifference):
    """How a task or group differs between two runs, and which tasks it is made of.

    Attributes:
        weights: what each leaf counts in it.
        left_out: items that only A, and that only B has.
    """

    weights: dict[str, float]
    left_out: tuple[int, int]


class RunComparison(PairedComparison):
    """Two runs compared: all tasks and groups, and every item that differs.

    Attributes:
        kinds: the kinds of score of A, and of B.
        flips: the items that differ, by leaf task.
    """

    higher_is_better: bool
    kinds: tuple[list[str], list[str]]
    sections: Sequence[ComparedSection]
    flips: dict[str, list[Flip]]


def compare_runs(
    a: Run,
    b: Run,
    metric: str = "accuracy",
    *,
    resamples: int = statistics.RESAMPLES,
    confidence: float = statistics.CONFIDENCE,
    seed: int = 0,
    include_path: Sequence[Path] = (),
) -> RunComparison:
    """Compare every task that both runs have, and every group of such tasks.

    Args:
        a: the baseline.
        b: the candidate.
        metric: a metric of the tasks that has one number an item; ``name,filter`` with filters.
        resamples: see `statistics.compare`.
        confidence: see `statistics.compare`.
        seed: see `statistics.compare`.
        include_path: folders with a user's own tasks, where the groups' rules are looked up.

    Raises:
        HarnessError: no task in common, no such metric, or other data under the same name.
    """
    name = metric.partition(",")[0].strip()
    if not name:
        raise HarnessError(f"the metric is {metric!r}, expected NAME or NAME,FILTER as in accuracy")
    if name in COUNTS:
        raise HarnessError(f"{name} is a count, which has no mean to compare: choose with --metric")
    notes = [*a.notes, *b.notes]
    matched = dict(match(a, b, metric, notes))
    if not matched:
        raise HarnessError(nothing_in_common(a, b, metric))
    key = next(iter(matched.values())).metric
    options: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    tree = hierarchy.tree_of(a, b)
    weights = {name: {name: 1.0} for name in matched} | hierarchy.weights_of(
        a, b, tree, matched, include_path, notes
    )
    rising = _higher_is_better(a, b, metric, matched)
    sections = []
    for name, depth in order_of(tree, weights):
        strata = {leaf: matched[leaf].values for leaf in weights[name]}
        prompts = {leaf: matched[leaf].prompts for leaf in weights[name]}
        tested = statistics.compare(strata, weights[name], prompts=prompts, **options)
        sides = [matched[leaf].left_out for leaf in weights[name]]
        section = ComparedSection(
            name=name,
            depth=depth,
            is_group=name not in matched,
            **{key: getattr(tested, key) for key in PairedStatistics.model_fields},
            gained=tested.risen if rising else tested.fallen,
            lost=tested.fallen if rising else tested.risen,
            p_holm=1.0,  # both until all sections are known
            verdict=NOISE,
            weights=weights[name],
            left_out=(sum(left for left, _ in sides), sum(left for _, left in sides)),
        )
        if _as_reported(section, a, b, key, notes):
            sections.append(section)
            own = sum(len(set(of)) for of in prompts.values()) if section.is_group else tested.items
            if tested.prompts != own:  # of a group: prompts that stand in several of its tasks
                notes.append(
                    f"{name}: {tested.items} items of {tested.prompts} prompts: interval and p "
                    "count a prompt as one"
                )
    kinds = tuple(
        sorted(set().union(*(m.kinds[side] for m in matched.values()))) for side in (0, 1)
    )
    if kinds[0] != kinds[1]:
        notes.append(
            f"A's scores are of kind {', '.join(kinds[0])}, B's of kind {', '.join(kinds[1])}: "
            "decisions can be compared, margins can not"
        )
    alpha = alpha_of(confidence)
    sections = judged(sections, alpha, rising)
    notes += too_few_resamples(sections, resamples, alpha)
    return RunComparison(
        metric=metric,
        higher_is_better=rising,
        kinds=(kinds[0], kinds[1]),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        sections=sections,
        flips={name: _flips(pair) for name, pair in matched.items()},
        notes=notes,
    )


def _as_reported(section: ComparedSection, a: Run, b: Run, metric: str, notes: list[str]) -> bool:
    """Whether a group's scores are those in the results files, where they are of the same items."""
    if not section.is_group or any(section.left_out):
        return True
    for run, ours in ((a, section.a), (b, section.b)):
        if not agrees(run, section.name, metric, ours):
            notes.append(
                f"{section.name}: not compared, as its {metric} in the results of {run.path} is "
                f"not what its tasks give with the weights known here, {ours:.6g}"
            )
            return False
    return True


def _higher_is_better(a: Run, b: Run, metric: str, matched: Mapping[str, Matched]) -> bool:
    for name in matched:
        known = (a.latest(name, "higher_is_better") or b.latest(name, "higher_is_better")) or {}
        if metric.partition(",")[0] in known:
            return bool(known[metric.partition(",")[0]])
    return True


def _flips(matched: Matched) -> list[Flip]:
    return [
        Flip(doc_id, a.value, b.value, a.margin, b.margin, a.prompt)
        for doc_id, (a, b) in matched.pairs.items()
        if a.value != b.value
    ]
