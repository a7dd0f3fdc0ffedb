# SPDX-License-Identifier: Apache-2.0
"""What a search found, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.compare.statistics import SIGN_FLIP
from harness.sweep.naming import lambda_is
from harness.sweep.table import p_value, scored, size
from harness.text_table import aligned

# More λs than these get a table of their own, with a row for each.
MOST_COLUMNS = 4


def text(search: Mapping[str, Any]) -> str:
    """The best trials on both sides, then what the best gained on the report rows.

    Args:
        search: what ``search.json`` holds.
    """
    lines = [*_top(search), ""]
    best = f"trial {search['top'][0]['number']}"
    for proof, name in (
        (search["proof"], "the reward model"),
        (search["proof_baseline"], f"the {_baseline(search)}"),
    ):
        lines += [f"Report rows: {best} against {name}"]
        lines += [*_compared(proof), ""]
    return "\n".join([*lines, *_foot(search)])


def _top(search: Mapping[str, Any]) -> Iterator[str]:
    names = list(search["top"][0]["params"])
    beside = names if len(names) <= MOST_COLUMNS else []
    sign = 1 if search["higher_is_better"] else -1
    rows = [["weights", "selection", "held out", "lost", *beside]]
    for label, found in [*_ways(search), (_baseline(search), search["baseline"])]:
        rows.append(
            [
                label,
                scored(found["select"], found["select_stderr"]),
                scored(found["report"], found["report_stderr"]),
                f"{sign * (found['select'] - found['report']):+.3f}",
                *(f"{found['params'][name]:g}" if "params" in found else "" for name in beside),
            ]
        )
    yield (
        f"{search['metric']}, the best {len(search['top'])} of {len(search['trials'])} trials by "
        f"the selection rows ({', '.join(search['select'])}), and on rows that did not choose "
        f"({', '.join(search['report'])}):"
    )
    yield from aligned(rows)
    if not beside:
        yield ""
        yield "Their λs:"
        yield from aligned(
            [["λ", *(label for label, _ in _ways(search))]]
            + [[name, *(f"{top['params'][name]:g}" for top in search["top"])] for name in names]
        )


def _ways(search: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"trial {top['number']}", top) for top in search["top"]]


def _baseline(search: Mapping[str, Any]) -> str:
    return f"plain sweep, {lambda_is(search['baseline']['label'])}"


def _compared(proof: Mapping[str, Any]) -> Iterator[str]:
    rows = [["section", "items", "A", "B", "B − A", "interval", "p", "p (Holm)", ""]]
    for found in proof["sections"]:
        rows.append(
            [
                "  " * found["depth"] + found["name"],
                str(found["items"]),
                f"{found['a']:.3f}",
                f"{found['b']:.3f}",
                f"{found['difference']:+.3f}",
                f"[{found['low']:+.3f}, {found['high']:+.3f}]",
                ("~" if found["test"] == SIGN_FLIP else "") + p_value(found["p"]),
                p_value(found["p_holm"]),
                found["verdict"],
            ]
        )
    yield from aligned(rows, left=(0, len(rows[0]) - 1))


def _foot(search: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "lost: selection − held out. The best of many trials owes some of its selection score to "
        "luck; the plain sweep had fewer chances to be lucky."
    )
    yield (
        "A: the other, B: the trial, on the same rows, with a paired bootstrap interval; p: "
        "McNemar's exact test (~: sign-flip test); Holm's correction over all tasks and, apart, "
        "over all groups; noise: what does not survive it."
    )
    states = [trial["state"] for trial in search["trials"]]
    counts = ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))
    made = search["made"]
    peak, model = made["peak_memory"]["resident"], made["peak_memory"]["model"]
    yield (
        f"Trials: {counts}. Time: {made['seconds']:.0f} s (scoring {made['scoring_seconds']:.0f} "
        f"s, merging {made['merging_seconds']:.1f} s, earlier runs of this search included). Peak "
        f"memory: {size(peak)}; the loaded model alone: {size(model)}."
    )
    proofs = (search["proof"], search["proof_baseline"])
    told = [note for proof in proofs for note in (proof or {}).get("notes", ())]
    for note in dict.fromkeys([*search["notes"], *told]):
        yield f"Note: {note}"
