# SPDX-License-Identifier: Apache-2.0
"""A sweep's pictures: scores against λ, and how far apart chosen and rejected responses are.

Drawn from what sweep.json holds, with matplotlib's own objects: no display, no global state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from harness.show import panels
from harness.show.naming import rows_of, shallow, short
from harness.show.picture import STYLE, WIDTH, frame
from harness.show.study_file import DroppedPoint, SweepFile, SweptPoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 30


def lambda_figure(sweep: SweepFile) -> Figure:
    """Scores on the selection rows against λ above; below, those on the report rows.

    Above, a line for each section with a band of one standard error; of two parameters only the
    score that chose, a line for each value of the second; a heat map of it where two models'
    weights make a grid; points for a grid of more.
    A cross is a point that a race dropped, at its score on the rows that it saw.
    Deep sections are left out where there are too many to tell apart.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = shallow(sweep.reported[0].sections, MOST_ROWS)
    heights = (4.4, 1.9 + 0.33 * len(rows))  # of these, 1.9 for title, axis and legend
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=heights, hspace=0.05)
        above, below = parts
        names = {name for point in sweep.tried[1:] for name in _names(point.label)}
        if len(names) == 2 and len(sweep.domain_models) == 1:
            panels.families(above.subplots(), sweep)
        elif len(names) > 1:
            panels.cloud(above.subplots(), sweep)
        elif _on_a_line(sweep.tried):
            panels.lines(above.subplots(), sweep)
        elif len(sweep.domain_models) == 2:
            panels.heat_map(above.subplots(), sweep)
        else:
            panels.cloud(above.subplots(), sweep)
        panels.reported(below.subplots(), sweep, rows)
        chosen_on, reported_on = rows_of(sweep)
        frame(above, f"Selection rows: these chose {sweep.parameter}\n{short(chosen_on, 80)}")
        frame(below, f"Report rows: what the merge is worth\n{short(reported_on, 80)}")
        return figure


def _names(label: str) -> set[str]:
    """The parameters that a label has numbers of; λ has no name there."""
    return {part.rpartition("=")[0] for part in label.split(",")}


def margins_figure(sweep: SweepFile) -> Figure | None:
    """The distributions of chosen − rejected on the report rows; None where no task has margins."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    margins = sweep.margins
    if margins is None:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        panels.margins(figure.subplots(), margins)
        tasks = short(", ".join(margins.tasks), 60)
        frame(figure, f"Report rows: {tasks}, {margins.items:,} pairs")
        return figure


def _on_a_line(points: Iterable[SweptPoint | DroppedPoint]) -> bool:
    """Whether the weights are multiples of each other, so that their total tells them apart."""
    import numpy as np

    return int(np.linalg.matrix_rank([point.weights for point in points], tol=1e-6)) <= 1
