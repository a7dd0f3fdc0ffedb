# SPDX-License-Identifier: Apache-2.0
"""A sweep's pictures: scores against λ, and how far apart chosen and rejected responses are.

Drawn from what sweep.json holds, with matplotlib's own objects: no display, no global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.bon.output import complete
from harness.bon.show import check_format
from harness.sweep import panels
from harness.sweep.naming import rows_of, shallow, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

STYLE: Any = {
    "text.parse_math": False,  # names are text: a $ in one is no formula
    "svg.fonttype": "none",  # text that can be read, searched and styled
    "svg.hashsalt": "dogerm",  # the same picture is the same file
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
WIDTH = 7.2  # inches
MOST_ROWS = 30


def lambda_figure(sweep: Mapping[str, Any]) -> Figure:
    """Scores on the selection rows against λ above; below, those on the report rows.

    Above, a line for each section with a band of one standard error; a heat map of the score that
    chose where two models' weights make a grid; only that score, as points, for a grid of more.
    Deep sections are left out where there are too many to tell apart.

    Args:
        sweep: what sweep.json holds.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = shallow(sweep["reported"][0]["sections"], MOST_ROWS)
    heights = (4.4, 1.9 + 0.33 * len(rows))  # of these, 1.9 for title, axis and legend
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=heights, hspace=0.05)
        above, below = parts
        if any("=" in point["label"] for point in sweep["points"]):  # of more than λ
            panels.cloud(above.subplots(), sweep)
        elif _on_a_line(sweep["points"]):
            panels.lines(above.subplots(), sweep)
        elif len(sweep["domain_models"]) == 2:
            panels.heat_map(above.subplots(), sweep)
        else:
            panels.cloud(above.subplots(), sweep)
        panels.reported(below.subplots(), sweep, rows)
        chosen_on, reported_on = rows_of(sweep)
        _frame(above, f"Selection rows: these chose λ\n{short(chosen_on, 80)}")
        _frame(below, f"Report rows: what the merge is worth\n{short(reported_on, 80)}")
        return figure


def margins_figure(sweep: Mapping[str, Any]) -> Figure | None:
    """The distributions of chosen − rejected on the report rows; None where no task has margins.

    Args:
        sweep: what sweep.json holds.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    margins = sweep["margins"]
    if margins is None:
        return None
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
        panels.margins(figure.subplots(), sweep)
        tasks = short(", ".join(margins["tasks"]), 60)
        _frame(figure, f"Report rows: {tasks}, {margins['items']:,} pairs")
        return figure


def write(figure: Figure, path: Path) -> None:
    """Save the picture, complete or not at all; the file's ending says the format.

    Raises:
        HarnessError: no such format, or the file can't be written.
    """
    from matplotlib import rc_context

    check_format(path)
    with rc_context(STYLE), complete(path) as partial:
        figure.savefig(partial, dpi=150)


def _on_a_line(points: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the weights are multiples of each other, so that their total tells them apart."""
    import numpy as np

    return int(np.linalg.matrix_rank([point["weights"] for point in points], tol=1e-6)) <= 1


def _frame(figure: FigureBase, title: str) -> None:
    """A title that starts at the left edge, and a legend below all that is drawn."""
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize="medium")
    figure.legend(loc="outside lower left", ncols=2)
