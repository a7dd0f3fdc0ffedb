# SPDX-License-Identifier: Apache-2.0
"""Which expert each domain's prompts went to: counts, accuracy, a picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Confusion:
    """Counts of (domain, expert).

    Args:
        pairs: of each prompt, the domain that it is of and the expert that it went to.
        experts: all there are, also those that nothing went to.

    Attributes:
        domains: those that there are prompts of; those with an expert first, in the experts' order.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], experts: Iterable[str]) -> None:
        self.counts = Counter(pairs)
        self.experts = tuple(experts)
        there = dict.fromkeys(domain for domain, _ in self.counts)
        others = [domain for domain in there if domain not in self.experts]
        self.domains = (*(name for name in self.experts if name in there), *others)

    @property
    def total(self) -> int:
        """All prompts."""
        return self.counts.total()

    @property
    def accuracy(self) -> tuple[float, float]:
        """The share that went to their domain's expert, and its standard error."""
        right = sum(count for (domain, expert), count in self.counts.items() if domain == expert)
        share = right / self.total
        return share, math.sqrt(share * (1 - share) / self.total)

    def rows(self) -> list[list[int]]:
        """The counts, [domains][experts]."""
        return [[self.counts[domain, e] for e in self.experts] for domain in self.domains]

    def as_dict(self) -> dict[str, dict[str, int]]:
        """The counts by domain and expert, for JSON."""
        return {d: {e: self.counts[d, e] for e in self.experts} for d in self.domains}

    def draw(self, path: Path) -> None:
        """Write the picture."""
        self.figure().savefig(path, dpi=120)

    def figure(self) -> Figure:
        """A picture: a row a domain, a column an expert, shares of the row in colour."""
        from matplotlib.figure import Figure  # without pyplot: no display and no global state

        rows = self.rows()
        shares = [[count / sum(row) for count in row] for row in rows]
        width = max(4.0, 0.9 * len(self.experts) + 2.2)
        height = max(2.6, 0.5 * len(self.domains) + 1.6)
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for y, row in enumerate(rows):
            for x, count in enumerate(row):
                colour = "white" if shares[y][x] > 0.6 else "black"
                axes.text(x, y, f"{count:,}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(self.experts)), self.experts, rotation=30, ha="right")
        axes.set_yticks(range(len(self.domains)), self.domains)
        axes.set(xlabel="expert", ylabel="domain")
        figure.colorbar(image, label="share of the row")
        return figure
