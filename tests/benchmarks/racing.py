# SPDX-License-Identifier: Apache-2.0
"""What a race would have cost and chosen, on the rewards that full sweeps have kept.

    python tests/benchmarks/racing.py sweeps/math ...

Each folder is of a finished `dogerm sweep` without --race. Its selection rows are put into another
order 200 times, and raced by both rules: the share of points times rows that is scored, and how
often the full score of what is chosen lies within one standard error of the best. The points of one
task, each prompt a unit.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.compare.samples import read_leaf
from harness.runs.results import find_run
from harness.study import racing
from harness.study.rows import SELECT

SHUFFLES = 200


def kept(folder: Path, metric: str = "accuracy") -> np.ndarray:
    """Values [points, units] of the selection rows, the reward model first."""
    points: dict[str, dict[str, list[float]]] = {}
    for place in sorted(folder.glob(f"results/*/{SELECT}/*")):
        label = place.parents[1].name
        for name, file in find_run(place).leaves.items():
            leaf = read_leaf(file, metric)
            assert leaf is not None
            for item in leaf.items.values():
                points.setdefault(label, {}).setdefault(f"{name} {item.asked}", []).append(
                    item.value
                )
    first = next(label for label in ("unmerged", "0") if label in points)
    units = sorted(points[first])
    labels = [first, *(label for label in points if label != first)]
    return np.array([[np.mean(points[label][unit]) for unit in units] for label in labels])


def race(values: np.ndarray, rule: str) -> tuple[int, float]:
    """The point that is chosen, and the share of points times units that was seen."""
    points, units = values.shape
    running = list(range(1, points))
    seen = [0] * points
    for part in range(1, racing.PARTS + 1):
        until = round(part * units / racing.PARTS)
        for one in (0, *running):
            seen[one] = until
        if part == racing.PARTS:
            break
        prefix = [values[one, : seen[one]] for one in range(points)]
        gone = set(racing.lost(prefix, running, units, 1.0))
        running = [one for one in running if one not in gone]
        if rule == racing.HALVING:
            scores = [float(values[one, :until].mean()) for one in range(points)]
            among = [s if n == 0 or n in running else -np.inf for n, s in enumerate(scores)]
            over = set(racing.halved(among, part, keep=[0]))
            running = [one for one in running if one not in over]
    chosen = max((0, *running), key=lambda one: (values[one].mean(), -one))
    return chosen, sum(seen) / (points * units)


def lines(folder: Path) -> Iterator[str]:
    """A row of the table for each rule."""
    values = kept(folder)
    points, units = values.shape
    scores = values.mean(axis=1)
    best = int(scores.argmax())
    error = values[best].std(ddof=1) / np.sqrt(units)
    generator = np.random.default_rng(0)
    orders = [generator.permutation(units) for _ in range(SHUFFLES)]
    for rule in (racing.SIGNIFICANT, racing.HALVING):
        raced = [race(values[:, order], rule) for order in orders]
        within = np.mean([scores[chosen] >= scores[best] - error for chosen, _ in raced])
        same = np.mean([scores[chosen] == scores[best] for chosen, _ in raced])
        cost = np.mean([share for _, share in raced])
        yield (
            f"| {folder.name} | {points} | {units} | {scores[0]:.3f} | {scores[best]:.3f} | {rule} "
            f"| {cost:.2f} | {within:.3f} | {same:.3f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    print("| sweep | points | units | reward model | best | rule | scored | within 1 s.e. | best |")
    print("|---|--:|--:|--:|--:|---|--:|--:|--:|")
    for folder in parser.parse_args().folders:
        print("\n".join(lines(folder)))
