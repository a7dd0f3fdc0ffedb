# SPDX-License-Identifier: Apache-2.0
"""What a sweep found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from harness.show import paired_table, raced
from harness.show.naming import lambda_is, rows_of, shallow
from harness.show.numbers import cost, score
from harness.show.study_file import DroppedPoint, SweepFile
from harness.show.text_table import aligned

_MOST_COLUMNS = 6
_AGAINST = ("B − A", "interval", "p", "p (Holm)")


def text(sweep: SweepFile) -> str:
    """The selection scores, then what the chosen weight gained on the report rows."""
    return "\n".join([*_selection(sweep), "", *_report(sweep), *_foot(sweep)])


def _selection(sweep: SweepFile) -> Iterator[str]:
    shown = shallow(sweep.points[0].sections, _MOST_COLUMNS)
    names = [section.name for section in shown]
    if len(sweep.select) == 1:  # its score is the one that chose
        names = [name for name in names if name not in sweep.select]
    several = len(names) > 1
    rows = [[sweep.parameter, sweep.metric, *(names if several else ()), "s", ""]]
    chosen, best = sweep.chosen_point, sweep.best_point
    for point in sweep.tried:
        took = f"{point.seconds.merge + point.seconds.score:.0f}"
        if isinstance(point, DroppedPoint):
            each = [""] * (len(names) if several else 0)
            mark = raced.mark(point, sweep)
        else:
            by_name = {section.name: section for section in point.sections}
            each = [f"{by_name[name].score:.3f}" for name in names if several]
            mark = "chosen" if point == chosen else "best" if point == best else ""
        rows.append([point.label, score(point.score, point.stderr), *each, took, mark])
    yield f"Selection, {sweep.points[0].items} rows of {rows_of(sweep)[0]}:"
    yield from aligned(rows, left=(len(rows[0]) - 1,))
    if told := raced.sentence(sweep):
        yield told


def _report(sweep: SweepFile) -> Iterator[str]:
    proof = sweep.proof
    proven = {section.name: section for section in proof.sections} if proof else {}
    heads = [lambda_is(point.label) for point in sweep.reported]
    against = ["difference", "interval", "p", "p (Holm)", ""] if proven else []
    rows = [["section", "items", *heads, *against]]
    for number, section in enumerate(sweep.reported[0].sections):
        scores = [point.sections[number] for point in sweep.reported]
        row = [
            "  " * section.depth + section.name,
            str(section.items),
            *(score(one.score, one.stderr) for one in scores),
        ]
        if section.name in proven:
            cells = paired_table.cells(proven[section.name])
            row += [*(cells[column] for column in _AGAINST), cells[paired_table.VERDICT]]
        else:
            row += [""] * len(against)
        rows.append(row)
    yield f"Report, rows that did not choose, {rows_of(sweep)[1]}:"
    yield from aligned(rows, left=(0, len(rows[0]) - 1) if proven else (0,))


def _foot(sweep: SweepFile) -> Iterator[str]:
    notes = list(sweep.notes)
    if sweep.proof:
        a, b = sweep.proof.a, sweep.proof.b
        yield f"difference: {lambda_is(b)} less {lambda_is(a)} on the same rows."
        yield from paired_table.how_to_read(sweep.proof)
        notes += sweep.proof.notes
    yield cost(sweep.made)
    yield from (f"Note: {note}" for note in notes)
