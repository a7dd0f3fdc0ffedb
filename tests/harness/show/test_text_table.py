"""Aligned columns."""

from __future__ import annotations

import doctest

from harness.show import text_table
from harness.show.text_table import aligned


def test_the_example() -> None:
    assert doctest.testmod(text_table).failed == 0


def test_a_column_without_a_heading_has_no_rule_and_no_trailing_blanks() -> None:
    lines = aligned([["a", "b", ""], ["long", "1", "noise"], ["x", "22", ""]], left=(0, 2))
    assert lines == ["a      b", "----  --", "long   1  noise", "x     22"]
