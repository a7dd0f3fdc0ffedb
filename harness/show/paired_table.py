# SPDX-License-Identifier: Apache-2.0
"""The table of a paired comparison, and how to read it: the same wherever it is shown."""

from __future__ import annotations

from collections import Counter

from harness.compare.paired import PairedComparison, PairedDifference
from harness.compare.statistics import MCNEMAR, SIGN_FLIP
from harness.show.blocks import Block, Items, Table, Text
from harness.show.numbers import ends, interval, p_value
from harness.show.text_table import aligned

COLUMNS = ("A", "B", "B − A", "interval", "gained", "lost", "p", "p (Holm)")
VERDICT = "verdict"
# In words, because "noise" alone does not say what follows from it.
MEANINGS = {
    "better": "better beyond chance",
    "worse": "worse beyond chance",
    "noise": "inside the noise, neither a gain nor a loss",
    "same": "no row is decided differently",
}


def cells(section: PairedDifference) -> dict[str, str]:
    """What a section's row says, by column."""
    return {
        "A": f"{section.a:.3f}",
        "B": f"{section.b:.3f}",
        "B − A": f"{section.difference:+.3f}",
        "interval": ends(section.low, section.high),
        "gained": str(section.gained),
        "lost": str(section.lost),
        "p": ("~" if section.test == SIGN_FLIP else "") + p_value(section.p),
        "p (Holm)": p_value(section.p_holm),
        VERDICT: section.verdict,
    }


def _head(comparison: PairedComparison) -> list[str]:
    named = {"interval": f"{100 * comparison.confidence:g}% interval"}
    return [named.get(column, column) for column in COLUMNS]


def lines(comparison: PairedComparison) -> list[str]:
    """The table for a terminal."""
    rows = [["section", "items", *_head(comparison), ""]]
    for section in comparison.sections:
        row = cells(section)
        name = "  " * section.depth + section.name
        rows.append([name, str(section.items), *(row[one] for one in COLUMNS), row[VERDICT]])
    return aligned(rows, left=(0, len(rows[0]) - 1))


def how_to_read(comparison: PairedComparison) -> list[str]:
    """What one must know to read the table, a sentence or two each."""
    if not comparison.sections:
        return []
    draws = f"{comparison.resamples:,}"
    used = {section.test for section in comparison.sections}
    tests = {
        MCNEMAR: "exact McNemar",
        SIGN_FLIP: f"~ sign-flip test, {draws} draws, where items are not just right or wrong, "
        "share a prompt or do not count the same",
    }
    tasks = sum(not section.is_group for section in comparison.sections)
    families = f"{tasks} tasks"
    if groups := len(comparison.sections) - tasks:
        families += f" and, apart, over {groups} groups"
    return [
        f"Interval: paired bootstrap within each task, {draws} resamples.",
        f"p: {'; '.join(text for test, text in tests.items() if test in used)}.",
        f"Holm: over {families}. noise: p (Holm) is not below {1 - comparison.confidence:.3g}.",
    ]


def blocks(comparison: PairedComparison, a: str, b: str) -> list[Block]:
    """The table for a page, with what one must know to read it.

    Args:
        comparison: B against A.
        a: what A is, for the caption.
        b: what B is.
    """
    rows = []
    for section in comparison.sections:
        row = cells(section)
        name = indented(section.name, section.depth)
        figures = (row[column] for column in COLUMNS)
        rows.append([name, row[VERDICT], f"{section.items:,}", *figures])
    table = Table(
        caption=f"Report rows, paired: B, {b}, against A, {a} ({comparison.metric})",
        head=("section", VERDICT, "rows", *_head(comparison)),
        rows=rows,
        left=frozenset({0, 1}),
    )
    reading = (
        f"{' '.join(how_to_read(comparison))} gained, lost: items on which B is better, or worse, "
        f"than A. Seed: {comparison.seed}."
    )
    told = [Items(comparison.notes)] if comparison.notes else []
    return [table, Text(reading), *told]


def verdicts(comparison: PairedComparison, against: str) -> list[Block]:
    """A line for each task or group that was asked for, and one that counts all verdicts."""
    told = [
        f"{section.name}: {section.a:.3f} → {section.b:.3f}, {section.difference:+.3f} "
        f"({interval(section.low, section.high)}): {MEANINGS[section.verdict]}."
        for section in comparison.sections
        if section.depth == 0
    ]
    counted: Counter[str] = Counter(section.verdict for section in comparison.sections)
    counts = ", ".join(f"{counted[verdict]} {verdict}" for verdict in MEANINGS)
    told.append(f"Of all {len(comparison.sections)} sections: {counts}.")
    return [Text(f"On the report rows, against {against}:"), Items(told)]


def indented(name: str, depth: int) -> str:
    """A section's name, set in by the groups that it is in (em spaces, which HTML keeps)."""
    return "\u2003" * depth + name
