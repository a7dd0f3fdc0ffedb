# SPDX-License-Identifier: Apache-2.0
"""What a run gives for each unit of a race, so that their mean is the score that chooses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.compare import groups, samples
from harness.errors import HarnessError
from harness.runs.results import Run
from harness.study.division import docs
from harness.study.race_order import Order, Part
from harness.study.racing import Values
from harness.study.rows import Rows


class UnitValues:
    """The values of units: their mean over all units is the score that chooses.

    Args:
        order: of the units.
        metric: of a number in 0..1 a row; ``NAME`` or ``NAME,FILTER``.
        option: what the user typed, for messages.

    Attributes:
        bound: no unit's value is larger.

    Raises:
        HarnessError: the score is no weighted sum of values of its rows.
    """

    def __init__(self, order: Order, metric: str, option: str = "--race") -> None:
        self._order = order
        self._metric = metric
        self._option = option
        leaves: dict[str, float] = {}
        for one in order.tasks:
            weights = _weights(one, metric.partition(",")[0], option)
            leaves |= {leaf: weight / len(order.tasks) for leaf, weight in weights.items()}
        self._weights = {
            leaf: order.units * weight / len(order.of_leaf(leaf)) for leaf, weight in leaves.items()
        }
        self._whole = np.zeros(order.units)
        for leaf, weight in self._weights.items():
            np.add.at(self._whole, order.of_leaf(leaf), weight)
        self.bound = float(self._whole.max())

    def values(self, runs: Sequence[Run], part: Part | None = None) -> Values:
        """The values of a part's units, in the order, or of all units.

        Args:
            runs: of all tasks that have rows there.
            part: whose runs they are; None: they are of all rows.

        Raises:
            HarnessError: a row's value is not in 0..1, or a task's score is not its rows' mean.
        """
        values = np.zeros(self._order.units)
        for run in runs:
            for leaf, file in run.leaves.items():
                units = self._order.of_leaf(leaf)
                numbers = range(len(units)) if part is None else self._order.numbers(leaf, part)
                found = samples.read_leaf(file, self._metric)
                items = found.items if found else {}
                if found is None or not _is_mean(run, leaf, found):
                    raise HarnessError(
                        f"{leaf}: no race on it, as its {self._metric} is not the mean of its "
                        f"rows' values; leave {self._option} out"
                    )
                for number, item in items.items():
                    if not 0 <= item.value <= 1:
                        raise HarnessError(
                            f"{leaf}: no race on its {self._metric}, which is {item.value:g} in a "
                            "row, and values in 0..1 are expected (accuracy); "
                            f"leave {self._option} out"
                        )
                    unit = units[numbers[number]]
                    values[unit] += item.value * item.documents * self._weights[leaf]
        first, last = (0, len(values)) if part is None else self._order.ends(part)
        return values[first:last]

    def score(self, values: Values) -> tuple[float, float | None]:
        """The score of the first units alone, and its standard error; a row counts as in all."""
        whole = self._whole[: len(values)]
        mean = float(values.sum() / whole.sum())
        if len(values) < 2:
            return mean, None
        left = values - mean * whole  # of a ratio of two sums
        error = float(left.std(ddof=1) / np.sqrt(len(values)) / whole.mean())
        return mean, error


def _weights(rows: Rows, metric: str, option: str) -> dict[str, float]:
    """What each leaf's mean counts in the score of a task or group."""
    if rows.name in rows.leaves:
        return {rows.name: 1.0}
    leaves = {
        leaf: groups.LeafWeight(len(docs(task)), (task.config.metadata or {}).get("weight"))
        for leaf, task in rows.leaves.items()
    }
    tree, configs = rows.loaded["group_map"], rows.loaded["groups"]
    try:
        return groups.leaf_weights(rows.name, metric, tree, leaves, configs)
    except HarnessError as error:
        raise HarnessError(f"{rows.name}: no race on it, as {error}; leave {option} out") from error


def _is_mean(run: Run, leaf: str, found: samples.Leaf) -> bool:
    theirs = (run.latest(leaf, "results") or {}).get(found.metric)
    ours = math.fsum(item.value for item in found.items.values()) / len(found.items)
    return theirs is not None and math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=1e-9)
