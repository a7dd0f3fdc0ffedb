# SPDX-License-Identifier: Apache-2.0
"""What a race would have cost and chosen, on the rewards that full sweeps have kept.

    python tests/benchmarks/racing.py sweeps/math ...

Each folder is of a finished `dogerm sweep` without --race. Its selection rows are put into another
order 200 times, and raced by both rules: the share of points times rows that is scored, and how
often the full score of what is chosen lies within one standard error of the best. Then the points
are the trials of a search, one after another in an order of chance, 200 times, with each rule of
--prune. The points of one task, each prompt a unit.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.compare.samples import read_leaf
from harness.runs.results import find_run
from harness.study import racing
from harness.study.rows import SELECT
from harness.study.rungs import SHARES
from harness.study.trial_loop import MEDIAN, MEDIAN_FROM, NONE
from harness.study.trial_race import RACE

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


def search(values: np.ndarray, prune: str, generator: np.random.Generator) -> tuple[int, float]:
    """The trial that is chosen, and the share of trials times units that was seen."""
    trials, units = values.shape
    common = generator.permutation(units)
    finished: list[int] = []
    seen = 0
    for trial in generator.permutation(trials):
        if prune == RACE and finished:
            best = max(finished, key=lambda one: values[one].mean())
            order = generator.permutation(units)
            capital = racing.log_capital((values[trial] - values[best])[order], units, 1.0)
            stops = [round(part * units / racing.PARTS) for part in range(1, racing.PARTS)]
            poor = [capital[:stop].max() >= np.log(1 / racing.ALPHA) for stop in stops]
        elif prune == MEDIAN and len(finished) >= MEDIAN_FROM:
            stops = [math.ceil(share * units) for share in SHARES[:-1]]
            parts = np.array([values[:, common[:stop]].mean(axis=1) for stop in stops])
            medians = np.median(parts[:, finished], axis=1)
            poor = list(np.maximum.accumulate(parts[:, trial]) < medians)
        else:
            stops, poor = [], []
        if any(poor):
            seen += stops[poor.index(True)]
        else:
            seen += units
            finished.append(trial)
    return max(finished, key=lambda one: (values[one].mean(), -one)), seen / (trials * units)


def lines(folder: Path) -> Iterator[str]:
    """A row of the table for each rule."""
    values = kept(folder)
    points, units = values.shape
    scores = values.mean(axis=1)
    best = int(scores.argmax())
    error = values[best].std(ddof=1) / np.sqrt(units)
    generator = np.random.default_rng(0)
    orders = [generator.permutation(units) for _ in range(SHUFFLES)]
    raced_by = {
        f"sweep --race {rule}": [race(values[:, order], rule) for order in orders]
        for rule in (racing.SIGNIFICANT, racing.HALVING)
    }
    for prune in (RACE, MEDIAN, NONE):
        generator = np.random.default_rng(0)
        raced_by[f"search --prune {prune}"] = [
            search(values, prune, generator) for _ in range(SHUFFLES)
        ]
    for rule, raced in raced_by.items():
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
