# SPDX-License-Identifier: Apache-2.0
"""What the chosen weight gained on the report rows, by the statistics of `dogerm compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.compare import samples, verdicts
from harness.compare.comparison import ComparedSection, compare_runs
from harness.compare.paired import PairedComparison
from harness.errors import HarnessError
from harness.runs.results import Run


def compare_all(
    a: Sequence[Run],
    b: Sequence[Run],
    metric: str,
    *,
    seed: int = 0,
    confidence: float = 0.95,
    resamples: int = 10_000,
    include_path: Sequence[Path] = (),
) -> dict[str, Any]:
    """B against A on each report task, with one correction over all of them.

    Args:
        a: the baseline's runs, one a task.
        b: the candidate's, in the same order.
        metric: of one number an item; a task that has none such is left out, and a note says so.
        seed: of the resampling.
        confidence: see `harness.compare.statistics.compare`.
        resamples: see there.
        include_path: folders with a user's own groups.
    """
    sections: list[ComparedSection] = []
    notes: list[str] = []
    rising = True
    for left, right in zip(a, b, strict=True):
        try:
            report = compare_runs(
                left,
                right,
                metric,
                resamples=resamples,
                confidence=confidence,
                seed=seed,
                include_path=include_path,
            )
        except HarnessError as error:
            notes.append(f"{left.path.name}: not compared: {error}")
            continue
        sections += report.sections
        notes += report.notes
        rising = report.higher_is_better
    compared = PairedComparison(
        metric=metric,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        sections=verdicts.judged(sections, verdicts.alpha_of(confidence), rising),
        notes=list(dict.fromkeys(notes)),
    )
    return compared.as_dict()


def margins(runs: Sequence[Sequence[Run]], bins: int = 40) -> dict[str, Any] | None:
    """The distributions of chosen − rejected of several models, as histograms with the same bins.

    Args:
        runs: of each model, of the same tasks.
        bins: how many, an even number.

    Returns:
        Edges (bins + 1 numbers), and of each model counts and the mean; None where no task has
        margins.
    """
    import numpy as np

    read = [[(run.path.name, _margins(run)) for run in of_model] for of_model in runs]
    values = [[margin for _, found in of_model for margin in found] for of_model in read]
    if not all(values):
        return None
    # 0 is an edge: what is right of it is what is decided right
    most = max(abs(margin) for of_model in values for margin in of_model) or 1.0
    edges = np.linspace(-most, most, bins + 1)
    return {
        "tasks": list(
            dict.fromkeys(name for of_model in read for name, found in of_model if found)
        ),
        "items": max(map(len, values)),
        "edges": edges.tolist(),
        "counts": [np.histogram(of_model, edges)[0].tolist() for of_model in values],
        "mean": [float(np.mean(of_model)) for of_model in values],
    }


def _margins(run: Run) -> list[float]:
    margins_of_items = []
    for file in run.leaves.values():
        leaf = samples.read_leaf(file, "margin")
        margins_of_items += [item.value for item in leaf.items.values()] if leaf else []
    return margins_of_items
