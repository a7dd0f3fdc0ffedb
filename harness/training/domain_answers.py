# SPDX-License-Identifier: Apache-2.0
"""Rows with an answer for each domain, as DSP has them, as pairs: a domain's own against another's.

    {"query": "...", "responses": {"academy": "...", "business": "...", ...}}

Everyone Deserves A Reward (arXiv 2309.03126), and its repository's ``reward_datasets.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, permutations
from typing import Any

import click

from harness.training.scored_answers import FAULT, PLACE

QUERY, RESPONSES = "query", "responses"
PROMPT, CHOSEN, REJECTED, DOMAIN = "prompt", "chosen", "rejected", "domain"


def has_them(row: Mapping[str, Any]) -> bool:
    """Whether a row is of this form."""
    return QUERY in row and isinstance(row.get(RESPONSES), Mapping)


def as_pairs(table: Iterable[dict[str, Any]], place: str) -> Iterator[dict[str, Any]]:
    """The rows, those of this form as pairs with a ``domain``; other tables as they are.

    Each pair has the number of its row, and a row of another form than the first, or with a single
    answer, what is wrong with it: see `harness.training.scored_answers.taken_off`. A domain without
    an answer makes no pairs, and how many there are is told at the end.
    """
    rows = iter(table)
    first = next(rows, None)
    if first is None:
        return
    if not has_them(first):
        yield first
        yield from rows
        return
    empty: list[int] = []
    for number, row in enumerate(chain([first], rows), 1):
        if not has_them(row) or len(row[RESPONSES]) < 2:
            wanted = f"expected `{QUERY}` and `{RESPONSES}` of two domains or more, as row 1 has"
            yield {**row, PLACE: number, FAULT: f"{wanted} them"}
            continue
        given = {domain: answer for domain, answer in row[RESPONSES].items() if answer}
        empty += [number] * (len(row[RESPONSES]) - len(given))
        for (domain, own), (_, other) in permutations(given.items(), 2):
            made = {PROMPT: row[QUERY], CHOSEN: own, REJECTED: other, DOMAIN: domain}
            yield {**made, PLACE: number}
    if empty:
        click.echo(
            f"{place}: {len(empty)} domains' answers are missing or empty, left out (the first in "
            f"row {empty[0]})",
            err=True,
        )
