# SPDX-License-Identifier: Apache-2.0
"""Aligned columns for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """The lines of a table: the first row is the heading, and a rule is drawn below it.

    Args:
        rows: cells, as many in each row; a column without a heading gets no rule.
        left: the columns that are flush left; the others are flush right.

    >>> print(*aligned([["section", "n"], ["math", "12"]]), sep="\\n")
    section   n
    -------  --
    math     12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "  ".join(
        "-" * width if heading else "" for heading, width in zip(rows[0], widths, strict=True)
    )
    return [lines[0], rule.rstrip(), *lines[1:]]
