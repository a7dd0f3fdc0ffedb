# SPDX-License-Identifier: Apache-2.0
"""A mixture of experts in a terminal: its size, and each expert's share of a domain's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.show.text_table import aligned


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """What `dogerm train gates` says in the end.

    Args:
        figures: as it writes them to figures.json.
    """
    size = figures["parameters"]
    experts = figures["experts"]
    share = size["total"] / size["dense_models"] - 1
    yield (
        f"{size['total']:,} parameters, {size['active']:,} active a token, "
        f"{figures['trained']:,} trained; {len(experts)} models of {size['one_dense_model']:,} "
        f"have {size['dense_models']:,} ({share:+.0%})"
    )
    yield "share of tokens (before training), mean over the layers:"
    rows = [["domain", *experts]]
    for domain, shares in figures["shares"].items():
        before = figures["shares_before"][domain]
        cells = (f"{now:.3f} ({then:.3f})" for now, then in zip(shares, before, strict=True))
        rows.append([domain, *cells])
    yield from aligned(rows)
