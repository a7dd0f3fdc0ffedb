# SPDX-License-Identifier: Apache-2.0
"""A study's picture: every candidate's difference to the general one, by group of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.show.candidates_file import CandidatesFile
from harness.show.naming import short
from harness.show.picture import STYLE, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW, _PANEL, _NAMES = 0.27, 1.7, 2.4  # inches: of a candidate, a group, the names at least


def forest_figure(study: CandidatesFile) -> Figure:
    """A panel for each group: the score above 0 or below, with its 95% interval, and each seed.

    What is better or worse after the correction is filled, what may be chance is hollow.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = study.scored
    groups = list(study.groups)
    with rc_context(STYLE):
        height = 1.6 + _ROW * max(3, len(drawn))
        width = max(WIDTH, _NAMES + _PANEL * len(groups))
        figure = Figure(figsize=(width, height), layout="constrained")
        axes: Any = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for axis, group in zip(axes, groups, strict=True):
            _panel(axis, study, group)
        names = [short(one.name, 28) for one in drawn]
        axes[0].set_yticks(range(len(drawn)), names)
        axes[0].set_ylim(len(drawn) - 0.5, -0.5)
        title = (
            f"{study.metric} less that of {study.general}, 95% intervals; hollow: may be chance "
            "(Holm)"
        )
        figure.supxlabel(f"difference in {study.metric}", fontsize="medium")
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize="medium")
        return figure


def _panel(axes: Axes, study: CandidatesFile, group: str) -> None:
    sign = 1 if study.higher_is_better else -1
    general = next((one for one in study.scored if one.name == study.general), None)
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    for row, one in enumerate(study.scored):
        against = one.against.get(group)
        if general is None or against is None:
            axes.plot([0], [row], "|", color="black", markersize=9)
            continue
        clear = against.p_holm < 1 - study.confidence
        better = sign * against.difference > 0
        colour = ("C0" if better else "C3") if clear else "0.45"
        axes.plot([against.low, against.high], [row, row], "-", color=colour, linewidth=1.6)
        axes.plot(
            [against.difference],
            [row],
            "o",
            color=colour,
            markerfacecolor=colour if clear else "white",
            markersize=5.5,
            zorder=3,
        )
        base = general.groups[group].score
        for value in one.groups[group].by_seed.values():
            axes.plot([value - base], [row + 0.28], "|", color=colour, markersize=5)
    axes.set_title(group, fontsize="medium")
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="y", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
