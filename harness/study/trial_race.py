# SPDX-License-Identifier: Apache-2.0
"""A search's trials against the best finished one: those shown to be worse are given up.

A trial sees the selection rows part by part, in an order of its own, and is held against one
opponent: the best trial that is finished when it has seen its first part (or, where there is none
yet, a later one). After each part it is given up if the bet against "this trial's score on all
selection rows is at least the opponent's" has won; `harness.study.racing` has the bet.

What that guarantees: **a trial that is at least as good as its opponent on all selection rows is
given up with a chance of at most `racing.ALPHA`**, however many parts there are; so is, therefore,
what would be the best of all. The chance is over the trial's order, which a digest of its
parameters draws: the sampler learns from earlier trials, but nothing of that order. It is the
chance of each trial, not of all trials of a search together, and it is about these rows only.

The values of a finished trial are kept in the study: a search that goes on and other processes
that share the study have them.
"""

from __future__ import annotations

import base64
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.runs.results import Run, find_run
from harness.study import racing
from harness.study.choose import Score
from harness.study.race_order import Order, Part
from harness.study.race_values import UnitValues
from harness.study.recipe import Point
from harness.study.remembering import ANSWERS, read_answers
from harness.study.rows import SELECT, Rows
from harness.study.worker import Job, Outcome

RACE = "race"


class TrialRace:
    """What all trials of a search have in common.

    Args:
        rows: of all roles.
        metric: what chooses.

    Attributes:
        rows: those that select.
        order: of their units, in which values are kept.

    Raises:
        HarnessError: the score is not a weighted mean of values in 0..1 of its rows.
    """

    def __init__(self, rows: Sequence[Rows], metric: str) -> None:
        self.rows = [one for one in rows if one.role == SELECT]
        self.order = Order(self.rows)
        self._metric = metric
        self._values = self.values_in(self.order)

    def values_in(self, order: Order) -> UnitValues:
        """What gives the values of the units in an order."""
        return UnitValues(order, self._metric, f"--prune {RACE}")

    def check(self, runs: Sequence[Run]) -> None:
        """Refuse rows by which there is no race, before a trial is made.

        Args:
            runs: of all selection rows at any point.

        Raises:
            HarnessError: a row's value is not in 0..1, or a task's score is not its rows' mean.
        """
        self._values.values(runs)

    def enter(self, label: str, point: Point) -> Racer:
        """A trial in the race."""
        return Racer(self, label, point)


class Racer:
    """One trial in the race.

    Args:
        race: that it is in.
        label: what it is called.
        point: what it measures.

    Attributes:
        kept: the values of all units as a text, when it is finished; empty before.
    """

    def __init__(self, race: TrialRace, label: str, point: Point) -> None:
        self._label = label
        self._point = point
        self._order = Order(race.rows, point.label)
        self._units = race.values_in(self._order)
        self._places = self._order.places_in(race.order)
        self._values: racing.Values = np.zeros(0)
        self._answers: list[tuple[bytes, tuple[Any, ...]]] = []
        self._opponent: racing.Values | None = None
        self.kept = ""

    def jobs(self) -> Iterator[Job]:
        """All parts but the last, and then all rows, of which only the last part's are scored."""
        for number in range(1, racing.PARTS):
            part = Part(number, racing.PARTS, self._order.name)
            first, last = self._order.ends(part)
            if first < last < self._order.units:
                yield Job(self._label, self._point, keep=True, part=part)
        yield Job(self._label, self._point, keep=True, known=self._answers)

    def take(self, outcome: Outcome) -> None:
        """Add what a job gave.

        Raises:
            HarnessError: a row's value is not in 0..1.
        """
        part = outcome.job.part
        with tempfile.TemporaryDirectory() as folder:
            runs = _runs(outcome, Path(folder))
            values = self._units.values(runs, part)
            if part is not None:  # the last task's file has the answers to all
                self._answers += read_answers(runs[-1].path / ANSWERS)
        if part is None:
            self._values = values
            self.kept = _as_text(values[np.argsort(self._places)])
        else:
            self._values = np.concatenate([self._values, values])

    @property
    def score(self) -> Score:
        """On the rows of the parts so far."""
        rows = self._order.rows_until(len(self._values))
        return Score(*self._units.score(self._values), rows)

    @property
    def share(self) -> float:
        """Of all rows, those of the parts so far."""
        return self._order.rows_until(len(self._values)) / self._order.rows

    def has_lost(self, best: str | None, rising: bool) -> bool:
        """Whether it has been shown to be worse than its opponent.

        Args:
            best: the best finished trial's `kept`; None: there is none.
            rising: whether a larger score is better.
        """
        if self._opponent is None:
            if best is None:
                return False
            self._opponent = _from_text(best)[self._places]
        behind = self._values - self._opponent[: len(self._values)]
        capital = racing.log_capital(
            behind if rising else -behind, self._order.units, self._units.bound
        )
        return bool(capital.max() >= np.log(1 / racing.ALPHA))


def _as_text(values: racing.Values) -> str:
    return base64.b64encode(zlib.compress(values.astype("<f8").tobytes())).decode()


def _from_text(text: str) -> racing.Values:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<f8")


def _runs(outcome: Outcome, folder: Path) -> list[Run]:
    """The runs of an outcome's tasks, written to a folder."""
    for task, files in outcome.files.items():
        (folder / task).mkdir()
        for name, content in files.items():
            (folder / task / name).write_bytes(content)
    return [find_run(folder / task) for task in outcome.files]
