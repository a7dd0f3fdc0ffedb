# SPDX-License-Identifier: Apache-2.0
"""Rows with an answer for each domain, as DSP has them, as pairs: a domain's own against another's.

    {"query": "...", "responses": {"academy": "...", "business": "...", ...}}

Everyone Deserves A Reward (arXiv 2309.03126), and its repository's ``reward_datasets.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from harness.errors import HarnessError

QUERY, RESPONSES = "query", "responses"
PROMPT, CHOSEN, REJECTED, DOMAIN = "prompt", "chosen", "rejected", "domain"


def has_them(row: Mapping[str, Any]) -> bool:
    """Whether a row is of this form."""
    return QUERY in row and isinstance(row.get(RESPONSES), Mapping)


def as_pairs(table: Iterable[dict[str, Any]], place: str) -> Iterator[dict[str, Any]]:
    """The rows, those of this form as pairs with a ``domain``; other tables as they are.

    Raises:
        HarnessError: a row is of another form than the first, or has a single answer.
    """
    rows = iter(table)
    first = next(rows, None)
    if first is None:
        return
    if not has_them(first):
        yield first
        yield from rows
        return
    for number, row in enumerate(chain([first], rows), 1):
        if not has_them(row) or len(row[RESPONSES]) < 2:
            raise HarnessError(
                f"{place}, row {number}: expected `{QUERY}` and `{RESPONSES}` of two domains or "
                "more, as row 1 has them"
            )
        for domain, own in row[RESPONSES].items():
            for other, answer in row[RESPONSES].items():
                if other != domain and own and answer:
                    made = {PROMPT: row[QUERY], CHOSEN: own, REJECTED: answer, DOMAIN: domain}
                    yield made
