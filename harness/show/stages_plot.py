# SPDX-License-Identifier: Apache-2.0
"""The stages of `dogerm train customized` as a picture: a panel for each domain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.show.picture import STYLE, WIDTH, frame
from harness.show.stages import accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.training.stage_scores import Scored

_COLUMNS = 2
_GENERAL = "general pairs"


def figure(scored: Sequence[Scored]) -> Figure:
    """Accuracy on held-out pairs against the stages, with bars of one standard error.

    In each panel one domain's reward model is the last stage: its own domain stands out, and the
    general pairs. Without a customised model there is one panel.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shared = [one for one in scored if one.stage != "customized"]
    ends = [one for one in scored if one.stage == "customized"]
    panels = [[*shared, one] for one in ends] or [shared]
    names = list(scored[-1].right)
    colours = {name: f"C{number}" for number, name in enumerate(n for n in names if n != _GENERAL)}
    across = min(_COLUMNS, len(panels))
    down = math.ceil(len(panels) / across)
    with rc_context(STYLE):
        drawn = Figure(figsize=(WIDTH, 1.2 + 2.7 * down), layout="constrained")
        grid: Any = drawn.subplots(down, across, squeeze=False, sharey=True)
        cells = list(grid.flat)
        for axes, panel in zip(cells, panels, strict=False):
            _panel(axes, panel, colours, labelled=panel is panels[0])
        for axes in cells[len(panels) :]:
            axes.remove()
        for row in grid:
            row[0].set_ylabel("accuracy")
        title = "Accuracy on held-out pairs after each stage"
        if scored[0].stage == "language model":
            title += " (the language model's by log-probabilities)"
        frame(drawn, title, columns=3)
        return drawn


def _panel(axes: Any, stages: Sequence[Scored], colours: dict[str, str], *, labelled: bool) -> None:
    own = stages[-1].name
    for name in stages[-1].right:
        means, errors = zip(*(accuracy(one.right[name]) for one in stages), strict=True)
        is_own = name == own
        axes.errorbar(
            range(len(stages)),
            means,
            yerr=errors,
            color=colours.get(name, "black"),
            linestyle="--" if name not in colours else "-",
            linewidth=2.4 if is_own else 1.0,
            alpha=1.0 if is_own or name not in colours else 0.5,
            marker="o",
            markersize=5 if is_own else 3,
            capsize=2,
            zorder=3 if is_own else 2,
        )
        if labelled:  # as it is drawn where it is not the panel's own
            style = "--" if name not in colours else "-"
            axes.plot([], [], color=colours.get(name, "black"), linestyle=style, label=name)
    axes.axhline(0.5, color="grey", linewidth=0.6, linestyle=":")
    axes.set_xticks(range(len(stages)), [_short(one) for one in stages])
    axes.set_xlim(-0.25, len(stages) - 0.75)
    axes.set_title(own if stages[-1].stage == "customized" else "", fontsize="medium")


def _short(one: Scored) -> str:
    return "customized" if one.stage == "customized" else one.name.replace(" ", "\n")
