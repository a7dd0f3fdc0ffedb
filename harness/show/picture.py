# SPDX-License-Identifier: Apache-2.0
"""A picture's look, and its file: whole, or the earlier one stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.runs.atomic import complete

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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


def check_format(path: Path) -> None:
    """Raise a `HarnessError` if matplotlib is not installed or knows no format of that ending."""
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise HarnessError("matplotlib is not installed: pip install matplotlib") from error
    known = FigureCanvasBase.get_supported_filetypes().keys() - {"pgf"}  # which needs LaTeX
    if path.suffix.removeprefix(".").lower() not in known:
        raise HarnessError(
            f"{path}: the name must end with a format of pictures, such as .png, .pdf or .svg "
            f"(matplotlib knows: {', '.join(sorted(known))})"
        )


def write(figure: Figure, path: Path) -> None:
    """Save the picture, complete or not at all; the file's ending says the format.

    Raises:
        HarnessError: no such format, or the file can't be written.
    """
    from matplotlib import rc_context

    check_format(path)
    with rc_context(STYLE), complete(path) as partial:
        figure.savefig(partial, dpi=150)


def band(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    errors: Sequence[float],
    *,
    color: str,
    **style: Any,
) -> None:
    """A line with a band of one standard error around it; NaN, where there is none, is left out."""
    low = [value - error for value, error in zip(y, errors, strict=True)]
    high = [value + error for value, error in zip(y, errors, strict=True)]
    axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0)
    axes.plot(x, y, color=color, **style)


def frame(figure: FigureBase, title: str, columns: int = 2) -> None:
    """A title that starts at the left edge, and a legend below all that is drawn."""
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize="medium")
    figure.legend(loc="outside lower left", ncols=columns)
