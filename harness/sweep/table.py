# SPDX-License-Identifier: Apache-2.0
"""What a sweep found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.compare.statistics import SIGN_FLIP
from harness.sweep.naming import lambda_is, rows_of, shallow
from harness.text_table import aligned

_MOST_COLUMNS = 6


def text(sweep: Mapping[str, Any]) -> str:
    """The selection scores, then what the chosen weight gained on the report rows.

    Args:
        sweep: what ``sweep.json`` holds.
    """
    return "\n".join([*_selection(sweep), "", *_report(sweep), *_foot(sweep)])


def _selection(sweep: Mapping[str, Any]) -> Iterator[str]:
    shown = shallow(sweep["points"][0]["sections"], _MOST_COLUMNS)
    names = [section["name"] for section in shown]
    if len(sweep["select"]) == 1:  # its score is the one that chose
        names = [name for name in names if name not in sweep["select"]]
    several = len(names) > 1
    rows = [["λ", sweep["metric"], *(names if several else ()), "s", ""]]
    for index, point in enumerate(sweep["points"]):
        by_name = {section["name"]: section for section in point["sections"]}
        marks = [
            word
            for word, at in (("chosen", sweep["chosen"]), ("best", sweep["best"]))
            if at == index and not (word == "best" and at == sweep["chosen"])
        ]
        rows.append(
            [
                point["label"],
                scored(point["score"], point["stderr"]),
                *(f"{by_name[name]['score']:.3f}" for name in names if several),
                f"{point['seconds']['merge'] + point['seconds']['score']:.0f}",
                " ".join(marks),
            ]
        )
    items = sweep["points"][0]["items"]
    yield f"Selection, {items} rows of {rows_of(sweep)[0]}:"
    yield from aligned(rows, left=(len(rows[0]) - 1,))


def _report(sweep: Mapping[str, Any]) -> Iterator[str]:
    reported = sweep["reported"]
    proof = {s["name"]: s for s in (sweep["proof"] or {}).get("sections", ())}
    heads = [lambda_is(one["label"]) for one in reported]
    against = ["difference", "interval", "p", "p (Holm)", ""] if proof else []
    rows = [["section", "items", *heads, *against]]
    for number, section in enumerate(reported[0]["sections"]):
        scores = [one["sections"][number] for one in reported]
        row = [
            "  " * section["depth"] + section["name"],
            str(section["items"]),
            *(scored(one["score"], one["stderr"]) for one in scores),
        ]
        found = proof.get(section["name"])
        if found:
            row += [
                f"{found['difference']:+.3f}",
                f"[{found['low']:+.3f}, {found['high']:+.3f}]",
                ("~" if found["test"] == SIGN_FLIP else "") + p_value(found["p"]),
                p_value(found["p_holm"]),
                found["verdict"],
            ]
        else:
            row += [""] * len(against)
        rows.append(row)
    yield f"Report, rows that did not choose, {rows_of(sweep)[1]}:"
    yield from aligned(rows, left=(0, len(rows[0]) - 1) if proof else (0,))


def _foot(sweep: Mapping[str, Any]) -> Iterator[str]:
    if sweep["proof"]:
        a, b = sweep["proof"]["a"], sweep["proof"]["b"]
        yield (
            f"difference: {lambda_is(b)} less {lambda_is(a)} on the same rows, with a paired "
            "bootstrap interval; p: McNemar's exact test (~: sign-flip test); Holm's correction "
            "over all tasks and, apart, over all groups; noise: what does not survive it."
        )
    made = sweep["made"]
    peak, model = made["peak_memory"]["resident"], made["peak_memory"]["model"]
    yield (
        f"Time: {made['seconds']:.0f} s; scoring took {made['scoring_seconds']:.0f} s and merging "
        f"{made['merging_seconds']:.1f} s, earlier runs of this sweep included. Peak memory: "
        f"{size(peak)}; the loaded model alone: {size(model)}."
    )
    for note in (*sweep["notes"], *(sweep["proof"] or {}).get("notes", ())):
        yield f"Note: {note}"


def scored(score: float, stderr: float | None) -> str:
    """A score with its standard error, where there is one."""
    return f"{score:.3f}" + (f" ±{stderr:.3f}" if stderr is not None else "")


def p_value(value: float) -> str:
    """Three digits are enough to judge by."""
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


def size(count: int) -> str:
    """Bytes as people read them.

    >>> size(1_500_000_000)
    '1.5 GB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
