"""One comparison as text and on a page: the same figures, and the same words to read them by."""

from __future__ import annotations

from typing import Any

from harness.show import paired_table
from harness.show.blocks import Items, Table, Text
from harness.show.study_file import Proof
from tests.harness.show import example


def proof(**changes: Any) -> Proof:
    zero, chosen, _ = example.sweep()["reported"]
    return Proof.model_validate({**example.proof(zero, chosen), **changes})


def test_text_and_page_hold_the_same_figures() -> None:
    comparison = proof()
    table, *_ = paired_table.blocks(comparison, "the reward model", "the merge")
    assert isinstance(table, Table)
    heading, _, *lines = paired_table.lines(comparison)
    for section, row, line in zip(comparison.sections, table.rows, lines, strict=True):
        figures = paired_table.cells(section)
        assert list(row[3:]) == [figures[name] for name in figures if name != "verdict"]
        assert line.split() == [
            section.name,
            str(section.items),
            *" ".join(row[3:]).split(),
            section.verdict,
        ]
    assert heading.split("  ")[0] == table.head[0] and "95% interval" in heading
    assert table.head[1] == "verdict" and table.head[6] == "95% interval"


def test_how_to_read_it_is_the_same_in_both() -> None:
    comparison = proof(resamples=500, confidence=0.9, notes=["a task is missing"])
    _, reading, notes = paired_table.blocks(comparison, "A", "B")
    told = paired_table.how_to_read(comparison)
    assert isinstance(reading, Text) and reading.text.startswith(" ".join(told))
    assert isinstance(notes, Items) and notes.lines == ["a task is missing"]
    assert told == [
        "Interval: paired bootstrap within each task, 500 resamples.",
        "p: exact McNemar; ~ sign-flip test, 500 draws, where items are not just right or wrong, "
        "share a prompt or do not count the same.",
        "Holm: over 3 tasks and, apart, over 3 groups. noise: p (Holm) is not below 0.1.",
    ]


def test_only_the_tests_that_were_used_are_told() -> None:
    mcnemar = [one for one in proof().sections if one.test == "mcnemar"]
    told = paired_table.how_to_read(proof(sections=mcnemar))
    assert told[1:] == [
        "p: exact McNemar.",
        "Holm: over 3 tasks. noise: p (Holm) is not below 0.05.",
    ]
    assert paired_table.how_to_read(proof(sections=[])) == []
