"""harness/SCALING.md: every figure follows from the inputs that the page states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import harness

PAGE = (Path(harness.__file__).parent / "SCALING.md").read_text("utf-8")
INPUT = re.compile(r"^\| `(\w+)` \| ([\d.e]+) \|", re.MULTILINE)
FIGURE = re.compile(r"^\| (.+?) \| ([\d.]+) \| `(.+)` \|$", re.MULTILINE)

# Figures that others are computed from, by the name in their formulas.
NAMES = {
    "parameters of the layers": "body",
    "GB of the reward model": "reward",
    "GB of the domain model": "domain",
    "tokens a λ": "tokens",
    "tokens of 21 λs": "all_tokens",
    "FLOPs of 21 λs": "flops",
    "GPU-hours of compute": "compute",
    "seconds to read": "read",
    "seconds to merge": "merging",
    "seconds to copy": "copying",
}


def test_every_figure_is_that_of_its_formula() -> None:
    """Printed figures are rounded, so they agree to half a unit of their last digit."""
    known = {name: float(value) for name, value in INPUT.findall(PAGE)}
    figures = FIGURE.findall(PAGE)
    assert len(known) == 24
    assert len(figures) == 18
    for what, printed, formula in figures:
        value = eval(formula, {"__builtins__": {}}, known)
        digits = len(printed.partition(".")[2])
        assert f"{value:.{digits}f}" == printed, what
        known |= {name: value for start, name in NAMES.items() if what.startswith(start)}


def test_the_tokens_without_a_shared_prefix() -> None:
    """The one figure that stands in the text."""
    known = {name: float(value) for name, value in INPUT.findall(PAGE)}
    ((formula, printed),) = re.findall(r"the tokens were `(.+?)` = ([\d.]+) × 10⁶", PAGE)
    assert eval(formula, {"__builtins__": {}}, known) / 1e6 == pytest.approx(float(printed), 0.02)
