# SPDX-License-Identifier: Apache-2.0
"""What a search found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.show import paired_table
from harness.show.naming import lambda_is
from harness.show.numbers import cost, score
from harness.show.study_file import SearchFile, SideBySide, TopTrial
from harness.show.text_table import aligned

# More λs than these get a table of their own, with a row for each.
MOST_COLUMNS = 4


def text(search: SearchFile) -> str:
    """The best trials on both sides, then what the best gained on the report rows."""
    lines = [*_top(search), ""]
    best = f"trial {search.top[0].number}"
    for proof, name in (
        (search.proof, "the reward model"),
        (search.proof_baseline, f"the {_baseline(search)}"),
    ):
        if proof:
            lines += [f"Report rows: {best} (B) against {name} (A)", *paired_table.lines(proof), ""]
    return "\n".join([*lines, *_foot(search)])


def _top(search: SearchFile) -> Iterator[str]:
    names = list(dict.fromkeys(name for top in search.top for name in top.params))
    beside = names if len(names) <= MOST_COLUMNS else []
    rows = [["weights", "selection", "held out", "lost", *beside]]
    for top in search.top:
        rows.append(
            [_label(top), *sides(search, top), *(_value(top.params.get(n)) for n in beside)]
        )
    rows.append([_baseline(search), *sides(search, search.baseline), *("" for _ in beside)])
    yield (
        f"{search.metric}, the best {len(search.top)} of {len(search.trials)} trials by "
        f"the selection rows ({', '.join(search.select)}), and on rows that did not choose "
        f"({', '.join(search.report)}):"
    )
    yield from aligned(rows)
    if not beside:
        yield ""
        yield "Their λs:"
        yield from aligned(
            [["λ", *map(_label, search.top)]]
            + [[name, *(_value(top.params.get(name)) for top in search.top)] for name in names]
        )


def _value(value: Any) -> str:
    """A number or a name; nothing where a trial's method has no such parameter."""
    return "" if value is None else value if isinstance(value, str) else f"{value:g}"


def _label(top: TopTrial) -> str:
    return f"trial {top.number}"


def _baseline(search: SearchFile) -> str:
    return f"plain sweep, {lambda_is(search.baseline.label)}"


def sides(search: SearchFile, measured: SideBySide) -> list[str]:
    """A score on the selection rows, on the report rows, and by how much it is worse there."""
    lost = measured.select - measured.report
    return [
        score(measured.select, measured.select_stderr),
        score(measured.report, measured.report_stderr),
        f"{lost if search.higher_is_better else -lost:+.3f}",
    ]


def _foot(search: SearchFile) -> Iterator[str]:
    yield (
        "lost: selection − held out. The best of many trials owes some of its selection score to "
        "luck; the plain sweep had fewer chances to be lucky."
    )
    proofs = [proof for proof in (search.proof, search.proof_baseline) if proof]
    yield from dict.fromkeys(line for proof in proofs for line in paired_table.how_to_read(proof))
    states = [trial.state for trial in search.trials]
    counts = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    yield f"Trials: {counts}. {cost(search.made)}"
    told = [note for proof in proofs for note in proof.notes]
    yield from (f"Note: {note}" for note in dict.fromkeys([*search.notes, *told]))
