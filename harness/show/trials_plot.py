# SPDX-License-Identifier: Apache-2.0
"""A search's picture: the trials' scores as they came, and what the best are worth elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.show.naming import lambda_is, rows_of, short
from harness.show.picture import STYLE, WIDTH, frame
from harness.show.study_file import SearchFile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def trials_figure(search: SearchFile) -> Figure:
    """Selection scores by trial on the left; the top ten on both sides on the right."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        axes: Any = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
        _history(axes[0], search)
        _sides(axes[1], search)
        chosen_on, _ = rows_of(search)
        title = f"{search.metric} of the trials, chosen on {short(chosen_on, 60)}"
        frame(figure, title, columns=3)
        return figure


def _history(axes: Axes, search: SearchFile) -> None:
    """Each complete or pruned trial, the best so far, and the plain sweep's best."""
    for state, marker, colour in (("complete", "o", "C0"), ("pruned", "x", "0.6")):
        trials = [trial for trial in search.trials if trial.state == state]
        if trials:
            label = "trial" if state == "complete" else "pruned, on a part of the rows"
            x = [trial.number for trial in trials]
            y: Any = [trial.score for trial in trials]
            axes.plot(x, y, marker, color=colour, markersize=4, label=label)
    complete = [
        (trial.number, trial.score)
        for trial in search.trials
        if trial.state == "complete" and trial.score is not None
    ]
    better = max if search.higher_is_better else min
    best = [better(score for _, score in complete[: end + 1]) for end in range(len(complete))]
    axes.step(
        [number for number, _ in complete],
        best,
        where="post",
        color="C0",
        linewidth=1,
        label="best so far",
    )
    axes.axhline(
        search.baseline.select,
        color="C1",
        linestyle="--",
        linewidth=1,
        label=f"plain sweep's best, {lambda_is(search.baseline.label)}",
    )
    axes.set_xlabel("trial")
    axes.set_ylabel(search.metric)


def _sides(axes: Axes, search: SearchFile) -> None:
    """A line for each of the best from its selection score to its held-out score."""
    for top in reversed(search.top):
        width = 2.0 if top is search.top[0] else 0.7
        ends = top.select, top.report
        axes.plot((0, 1), ends, "o-", color="C0", linewidth=width, markersize=3)
    baseline = search.baseline
    axes.plot((0, 1), (baseline.select, baseline.report), "s--", color="C1", markersize=4)
    axes.set_xticks((0, 1), ("selection", "held out"))
    axes.set_xlim(-0.2, 1.2)
