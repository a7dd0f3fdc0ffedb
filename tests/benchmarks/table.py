# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark run: collected, written as JSON and as Markdown."""

from __future__ import annotations

import json
import operator
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from tests.benchmarks.measure import Pairs

Side = Literal["at most", "at least"]
HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at most": operator.le,
    "at least": operator.ge,
}
HEADINGS = ("what", "ours / peer", "median (min–max)", "bar", "holds", "note")


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        section: its table.
        what: what was measured, and against what.
        value: the figure, a median where it was measured several times.
        unit: of `value`; "×" for a ratio.
        bar: what it is to be, by `better`; None where it only informs.
        better: the side of the bar where it holds.
        note: what a reader must know; why the bar does not hold where it does not.
        low, high: the smallest and the largest of several.
        pairs: how often it was measured.
        ours, peer: the medians behind a ratio, in `of` (seconds or bytes).
        dtype: what the models computed in.
        detail: profiles and whatever else stands behind the figure; JSON types, in the JSON only.
    """

    section: str
    what: str
    value: float
    bar: float | None
    better: Side
    unit: str
    note: str = ""
    low: float | None = None
    high: float | None = None
    pairs: int | None = None
    ours: float | None = None
    peer: float | None = None
    of: str = ""
    dtype: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the bar holds; None without a bar."""
        return None if self.bar is None else HOLDS[self.better](self.value, self.bar)


class Figures:
    """The rows of a run, in the order in which they came."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(
        self,
        section: str,
        what: str,
        value: float,
        bar: float | None,
        better: Side,
        unit: str,
        note: str = "",
        low: float | None = None,
        high: float | None = None,
        detail: dict[str, Any] | None = None,
        *,
        pairs: Pairs | None = None,
        dtype: str = "",
    ) -> Row:
        """Add a figure; see `Row`.

        Args:
            pairs: what was measured, with ``pairs.ratio`` as the value: `low`, `high`, and the
                medians behind the ratio.
        """
        if better not in HOLDS:
            raise ValueError(f"better={better!r}; expected one of {', '.join(HOLDS)}")
        behind: dict[str, Any] = {}
        if pairs is not None:
            low, high = pairs.low, pairs.high
            behind = {
                "pairs": len(pairs.ours),
                "ours": statistics.median(pairs.ours),
                "peer": statistics.median(pairs.peer),
                "of": pairs.unit,
            }
            detail = {"ours": pairs.ours, "peer": pairs.peer, **(detail or {})}
        row = Row(
            section, what, value, bar, better, unit, note, low, high,
            dtype=dtype, detail=detail or {}, **behind,
        )  # fmt: skip
        self.rows.append(row)
        return row


def as_json(figures: Figures, about: dict[str, Any]) -> dict[str, Any]:
    """All of a run: `about` (machine, versions, date) and every row with whether its bar holds."""
    return {**about, "rows": [{**asdict(row), "holds": row.holds} for row in figures.rows]}


def as_markdown(figures: Figures, about: dict[str, Any]) -> str:
    """A table per section, under a line that says where the figures come from."""
    lines = ["# Benchmarks", "", _origin(about)]
    rows = sorted(figures.rows, key=lambda row: _first(figures.rows, row.section))
    for section, group in groupby(rows, key=lambda row: row.section):
        lines += ["", f"## {section}", "", *_table(list(group))]
    return "\n".join(lines) + "\n"


def write(figures: Figures, about: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write benchmarks.json and benchmarks.md into `folder`; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_data, as_text = folder / "benchmarks.json", folder / "benchmarks.md"
    text = json.dumps(as_json(figures, about), indent=2, ensure_ascii=False)
    as_data.write_text(text + "\n", encoding="utf-8")
    as_text.write_text(as_markdown(figures, about), encoding="utf-8")
    return as_data, as_text


def number(value: float) -> str:
    """Three digits that matter, thousands apart.

    >>> number(0.01234), number(2.5), number(84190), number(1)
    ('0.0123', '2.5', '84,190', '1')
    """
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    """A number with its unit; bytes as MB or GB.

    >>> amount(2.1e9, "bytes"), amount(0.25, "s"), amount(2, "×")
    ('2.1 GB', '0.25 s', '2×')
    """
    if unit == "bytes":
        return f"{number(value / 1e9)} GB" if value >= 1e9 else f"{number(value / 1e6)} MB"
    return f"{number(value)}{unit if unit in ('×', '%') else f' {unit}'}".strip()


def _first(rows: list[Row], section: str) -> int:
    return next(at for at, row in enumerate(rows) if row.section == section)


def _origin(about: dict[str, Any]) -> str:
    machine = about["machine"]
    memory = amount(machine["memory"], "bytes")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['date']}; {machine['cpu']}, {machine['cores']} cores, {machine['threads']} "
        f"threads, {memory}; {versions}. A ratio is the median of pairs run in turn."
    )


def _table(rows: list[Row]) -> Iterator[str]:
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|" + "---|" * len(HEADINGS)
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in _cells(row))
        yield f"| {' | '.join(cells)} |"


def _cells(row: Row) -> Iterator[str]:
    yield f"{row.what} ({row.dtype})" if row.dtype else row.what
    known = row.ours is not None and row.peer is not None
    yield f"{amount(row.ours or 0, row.of)} / {amount(row.peer or 0, row.of)}" if known else ""
    spread = row.low is not None and row.high is not None
    around = f" ({number(row.low or 0)}–{number(row.high or 0)})" if spread else ""
    yield amount(row.value, row.unit) + around
    yield "" if row.bar is None else f"{row.better} {amount(row.bar, row.unit)}"
    yield {True: "yes", False: "**no**", None: ""}[row.holds]
    yield row.note
