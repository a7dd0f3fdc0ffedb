# SPDX-License-Identifier: Apache-2.0
"""The panels of a sweep's pictures, each drawn into the axes that it is given."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.show import raced
from harness.show.naming import lambda_is, shallow, short
from harness.show.picture import band
from harness.show.study_file import (
    DroppedPoint,
    Margins,
    PointScores,
    SectionScore,
    SweepFile,
    SweptPoint,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A colour, a marker and a dash each, so that lines can be told apart in grey and without seeing red
# or green. The colours, from the palettes of Okabe and Ito and of ColorBrewer, have a contrast of 3
# or more on white and on near-black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#B8578F", "#A6761D", "#767676")
MARKERS = "os^DvP"
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (3, 1.2, 1, 1.2)),
    (0, (1, 1)),
    (0, (6, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)
MOST_LINES = len(COLORS)


def look(index: int) -> tuple[str, str, Any]:
    """Colour, marker and dash of a line; the pair of colour and marker is new 36 times."""
    shifted = (index + index // len(COLORS)) % len(MARKERS)
    return COLORS[index % len(COLORS)], MARKERS[shifted], DASHES[shifted]


def lines(axes: Axes, sweep: SweepFile) -> None:
    """A line for each section, and for what chose where that is several tasks' mean."""
    points = sweep.points
    weights = [point.total for point in points]
    gaps = [point.total for point in sweep.dropped]
    sections = shallow(points[0].sections, MOST_LINES)
    for index, section in enumerate(sections):
        color, marker, dash = look(index)
        name = section.name
        scores = [_section(point, name) for point in points]
        style = {"marker": marker, "linestyle": dash, "markersize": 4, "label": short(name)}
        _band(axes, weights, scores, gaps, color=color, **style)
    if sum(section.depth == 0 for section in sections) > 1:
        style = {"marker": ".", "linewidth": 2.2, "label": f"all, which chose {sweep.parameter}"}
        _band(axes, weights, points, gaps, color="black", **style)
    raced.crosses(axes, sweep, _placed)
    _mark(axes, sweep)
    axes.set(xlabel=_what(sweep), ylabel=f"{sweep.metric} (band: ± s.e.)")


def families(axes: Axes, sweep: SweepFile) -> None:
    """The score that chose along one parameter, a line for each value of the other."""
    itself, *merges = sweep.points
    by_other: dict[str, list[SweptPoint]] = defaultdict(list)
    for point in merges:
        by_other[_other(point.label)].append(point)
    for index, (other, points) in enumerate(by_other.items()):
        color, marker, dash = look(index)
        style = {"marker": marker, "linestyle": dash, "markersize": 4, "label": other}
        weights = [point.total for point in points]
        gaps = [one.total for one in sweep.dropped if _other(one.label) == other]
        _band(axes, weights, points, gaps, color=color, **style)
    # it lies beside the parameters: no number of theirs is marked where it is what was chosen
    kept = sweep.chosen_point == itself
    axes.axhline(
        itself.score,
        color="black",
        linewidth=1.2 if kept else 0.8,
        linestyle="-" if kept else (0, (1, 2)),
        label="the reward model (chosen)" if kept else "the reward model",
    )
    raced.crosses(axes, sweep, _placed)
    if not kept:
        _mark(axes, sweep)
    axes.set(xlabel=_what(sweep), ylabel=f"{sweep.metric} (band: ± s.e.)")


def _what(sweep: SweepFile) -> str:
    """What the points lie along."""
    several = len(sweep.domain_models) > 1
    name = sweep.parameter if sweep.parameter != "λ" else "λ, weight"
    total = f"total {sweep.parameter}{', weight' if sweep.parameter == 'λ' else ''}"
    return f"{total} of the domain models" if several else f"{name} of the domain model"


def _other(label: str) -> str:
    """The second of two parameters, with its value."""
    return lambda_is(label).partition(", ")[2]


def _band(
    axes: Axes,
    x: Sequence[float],
    scores: Sequence[SectionScore | SweptPoint],
    gaps: Sequence[float],
    **style: Any,
) -> None:
    """A line with its band, which breaks where a point was dropped."""
    known = [(at, one.score, _error(one)) for at, one in zip(x, scores, strict=True)]
    places = sorted([*known, *((at, math.nan, math.nan) for at in gaps)], key=lambda one: one[0])
    band(axes, *zip(*places, strict=True), **style)


def _mark(axes: Axes, sweep: SweepFile) -> None:
    """Upright lines at the weight that was chosen and at that with the best score."""
    best, chosen = sweep.best_point, sweep.chosen_point
    what = "chosen (the best score)" if best == chosen else f"chosen ({sweep.rule})"
    label = f"{what}: {lambda_is(chosen.label)}"
    axes.axvline(chosen.total, color="black", linewidth=1.2, zorder=1, label=label)
    if best != chosen:
        label = f"best score: {lambda_is(best.label)}"
        style: dict[str, Any] = {"color": "black", "linewidth": 1.2, "linestyle": (0, (1, 2))}
        axes.axvline(best.total, zorder=1, label=label, **style)


def heat_map(axes: Axes, sweep: SweepFile) -> None:
    """The score that chose over the weights of two domain models; not drawn where Σλ > 1.

    What a race dropped has a cross in its cell and no colour.
    """
    points = sweep.points
    rows, columns = (sorted({point.weights[model] for point in sweep.tried}) for model in (1, 0))
    cells = [[math.nan] * len(columns) for _ in rows]
    for point in points:
        x, y = point.weights
        cells[rows.index(y)][columns.index(x)] = point.score
    colors = "cividis" if sweep.higher_is_better else "cividis_r"
    mesh = axes.pcolormesh(cells, cmap=colors, edgecolors="face", linewidth=0.2)
    axes.figure.colorbar(mesh, ax=axes, label=sweep.metric)
    for ticks, values in ((axes.set_xticks, columns), (axes.set_yticks, rows)):
        step = math.ceil(len(values) / 11)
        shown = range(0, len(values), step)
        ticks([index + 0.5 for index in shown], [f"{values[index]:g}" for index in shown])

    def cell(point: DroppedPoint) -> tuple[float, float]:
        x, y = point.weights
        return columns.index(x) + 0.5, rows.index(y) + 0.5

    raced.crosses(axes, sweep, cell)
    for key, point, marker in _marked(sweep):
        x, y = point.weights
        label = f"{key}: {lambda_is(point.label)}"
        style: dict[str, Any] = {"markersize": 12, "markerfacecolor": "none", "linestyle": ""}
        axes.plot(
            columns.index(x) + 0.5,
            rows.index(y) + 0.5,
            marker=marker,
            markeredgecolor=COLORS[1],
            markeredgewidth=2,
            label=label,
            **style,
        )
    names = (short(Path(model).name) for model in sweep.domain_models)
    across, up = (f"{sweep.parameter} of {name}" for name in names)
    axes.set(xlabel=across, ylabel=up)


def _marked(sweep: SweepFile) -> tuple[tuple[str, SweptPoint, str], ...]:
    return ("chosen", sweep.chosen_point, "o"), ("best", sweep.best_point, "*")


def cloud(axes: Axes, sweep: SweepFile) -> None:
    """The score that chose against the total weight, a point for each merge."""
    points = sweep.points
    axes.errorbar(
        [point.total for point in points],
        [point.score for point in points],
        yerr=[_error(point) for point in points],
        color=COLORS[0],
        fmt="o",
        markersize=4,
        elinewidth=0.8,
        label="one merge each, ± s.e.",
    )
    raced.crosses(axes, sweep, _placed)
    for key, point, marker in _marked(sweep):
        style: dict[str, Any] = {"color": COLORS[1], "markerfacecolor": "none", "markersize": 12}
        label = f"{key}: {lambda_is(point.label)}"
        axes.plot(point.total, point.score, marker, label=label, **style)
    axes.set(xlabel=_what(sweep), ylabel=sweep.metric)


def _placed(point: DroppedPoint) -> tuple[float, float]:
    return point.total, point.score


def reported(axes: Axes, sweep: SweepFile, rows: Sequence[SectionScore]) -> None:
    """A row for each section, in it a point for each weight that was measured on these rows."""
    reported = sweep.reported
    for index, point in enumerate(reported):
        color, marker, _ = look(index)
        sections = [_section(point, row.name) for row in rows]
        shift = 0.5 * ((index + 0.5) / len(reported) - 0.5)
        is_chosen = point.label == sweep.chosen_point.label
        axes.errorbar(
            [section.score for section in sections],
            [row + shift for row in range(len(rows))],
            xerr=[_error(section) for section in sections],
            fmt=marker,
            color=color,
            markersize=6,
            markerfacecolor=color if is_chosen else "none",
            elinewidth=1.2,
            label=f"{lambda_is(point.label)}{' (chosen)' if is_chosen else ''}",
        )
    axes.set_yticks(range(len(rows)), [short(row.name) for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.is_group else "normal")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#767676", alpha=0.3, linewidth=0.6)
    axes.set_xlabel(f"{sweep.metric} (± s.e.)")


def margins(axes: Axes, margins: Margins) -> None:
    """The outline of a histogram for each weight."""
    for index, (label, counts) in enumerate(margins.counts.items()):
        color, _, dash = look(index)
        shares = [count / max(1, sum(counts)) for count in counts]
        name = f"{lambda_is(label)}, mean {margins.mean[label]:+.3g}"
        style: dict[str, Any] = {"color": color, "linestyle": dash, "linewidth": 1.8}
        axes.stairs(shares, margins.edges, label=name, **style)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="reward of chosen − reward of rejected", ylabel="share of the pairs")


def _section(point: PointScores, name: str) -> SectionScore:
    return next(section for section in point.sections if section.name == name)


def _error(scored: SectionScore | SweptPoint) -> float:
    """The standard error; NaN, which matplotlib leaves out, where there is none."""
    return math.nan if scored.stderr is None else scored.stderr
