# SPDX-License-Identifier: Apache-2.0
"""A sweep's selection rows in growing parts: points that have lost are not measured on the rest.

What is lost says `harness.study.racing`, and what that guarantees. The reward model itself, which
all tables compare with, is always measured in full; so is what an earlier run measured in full. A
point's score on a part is of no use but to drop it: only points with full scores are chosen among.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.show.naming import lambda_is
from harness.show.numbers import duration
from harness.study import racing
from harness.study.measuring import Measuring, TaskResult, Tell
from harness.study.race_order import Order, Part
from harness.study.race_values import UnitValues
from harness.study.raced import Dropped, Raced
from harness.study.recipe import Point
from harness.study.remembering import ANSWERS, read_answers
from harness.study.rows import SELECT, Rows
from harness.study.worker import Cost, Job

WHY = {
    racing.SIGNIFICANT: "shown not to be the best",
    racing.HALVING: "not among the best so far",
}
_MOST_NAMED = 8


@dataclass
class _Lane:
    """A point in the race."""

    point: Point
    values: racing.Values
    full: bool  # measured in full by an earlier run
    costs: list[Cost] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    dropped: str | None = None  # why

    @property
    def running(self) -> bool:
        return self.dropped is None


class Race:
    """A race of points on the selection rows; a stopped one goes on from what is kept of it.

    Args:
        measuring: measures and keeps.
        rows: of all roles.
        metric: what chooses.
        rule: `racing.SIGNIFICANT`; or `racing.HALVING`, which drops others, too.
        say: told what is dropped.

    Raises:
        HarnessError: the score is not a weighted mean of values in 0..1 of its rows.
    """

    def __init__(
        self,
        measuring: Measuring,
        rows: Sequence[Rows],
        metric: str,
        rule: str,
        say: Callable[[str], None],
    ) -> None:
        self._measuring = measuring
        self._rows = [one for one in rows if one.role == SELECT]
        self._order = Order(self._rows)
        self._values = UnitValues(self._order, metric)
        self._rule = rule
        self._say = say

    def run(self, points: Sequence[Point], told: Callable[[Sequence[Point]], Tell]) -> Raced:
        """Measure points, the reward model itself first, until each has lost or is measured.

        Args:
            points: all of them.
            told: gives who is told of each task at each of the points that are measured in full.

        Raises:
            HarnessError: one of them can't be measured; what is finished is kept.
        """
        lanes = [self._lane(point) for point in points]
        for number in range(1, racing.PARTS):
            part = Part(number, racing.PARTS)
            if all(lane.full for lane in lanes[1:] if lane.running):
                break
            for lane in lanes:
                if lane.running and not lane.full:
                    self._measure(lane, part)
            self._drop(lanes, part)
        alive = [lane for lane in lanes if lane.running]
        parts = {lane.point.label: lane.parts for lane in alive}
        measured = self._measuring.measure(
            [(lambda_is(lane.point.label), lane.point) for lane in alive],
            SELECT,
            told([lane.point for lane in alive]),
            known=lambda point, task: self._answers(point, task, parts[point.label]),
        )
        return Raced(
            measured=list(measured.values()),
            dropped=[self._as_dropped(lane) for lane in lanes if not lane.running],
            costs={lane.point.label: lane.costs for lane in alive},
            rows=self._order.rows,
        )

    def _lane(self, point: Point) -> _Lane:
        jobs = [Job("", point, SELECT, one.name) for one in self._rows]
        if not all(map(self._measuring.has, jobs)):
            return _Lane(point, np.zeros(0), full=False)
        found = self._measuring.run(jobs, lambda *told: None)
        return _Lane(point, self._signed(found.values(), None), full=True)

    def _measure(self, lane: _Lane, part: Part) -> None:
        """Measure a part's rows at a point."""
        jobs = [
            Job(lambda_is(lane.point.label), lane.point, SELECT, one.name, keep=True, part=part)
            for one in self._rows
            if self._order.has_any(one, part)
        ]
        found = self._measuring.run(jobs, self._tell).values()
        lane.values = np.concatenate([lane.values, self._signed(found, part)])
        lane.costs += [one.cost for one in found]
        lane.parts.append(part)

    def _signed(self, found: Collection[TaskResult], part: Part | None) -> racing.Values:
        """Values of units, of which larger ones are better."""
        values = self._values.values([one.run for one in found], part)
        return values if all(one.rising for one in found) else -values

    def _tell(self, job: Job, result: TaskResult, now: bool) -> None:
        assert job.part is not None
        rows = sum(section.items for section in result.sections if not section.is_group)
        took = duration(result.cost.score_seconds) if now else "from an earlier run"
        part = f"part {job.part.number}/{job.part.of}"
        self._say(f"{part}  {job.label}  {result.task}  {rows} rows  ({took})")

    def _drop(self, lanes: Sequence[_Lane], part: Part) -> None:
        """Drop what has lost by the end of a part."""
        end = self._order.ends(part)[1]
        seen = [lane.values[:end] for lane in lanes]
        dropped: dict[str, list[_Lane]] = {}

        def drop(numbers: Iterable[int], why: str) -> None:
            for lane in (lanes[number] for number in numbers):
                lane.dropped = why
                dropped.setdefault(why, []).append(lane)

        may_go = [n for n, lane in enumerate(lanes) if n and lane.running and not lane.full]
        drop(racing.lost(seen, may_go, self._order.units, self._values.bound), racing.SIGNIFICANT)
        if self._rule == racing.HALVING:
            scores = [
                float(values.sum()) if lane.running else -math.inf
                for lane, values in zip(lanes, seen, strict=True)
            ]
            too_many = racing.halved(scores, part.number, keep=[0])
            drop((n for n in too_many if n in may_go), racing.HALVING)
        for why, those in dropped.items():
            named = ", ".join(lambda_is(lane.point.label) for lane in those[:_MOST_NAMED])
            more = f" and {len(those) - _MOST_NAMED} more" if len(those) > _MOST_NAMED else ""
            self._say(
                f"dropped after {self._order.rows_until(end)} of {self._order.rows} rows "
                f"({WHY[why]}): {named}{more}"
            )

    def _answers(
        self, point: Point, task: str, parts: Sequence[Part]
    ) -> list[tuple[bytes, tuple[Any, ...]]]:
        """What is known of a point's rows of a task from its parts."""
        places = (Job("", point, SELECT, task, part=part).place for part in parts)
        files = (self._measuring.store.path(place, task) / ANSWERS for place in places)
        return [one for file in files if file.exists() for one in read_answers(file)]

    def _as_dropped(self, lane: _Lane) -> Dropped:
        assert lane.dropped is not None
        score, stderr = self._values.score(np.abs(lane.values))
        rows = self._order.rows_until(len(lane.values))
        return Dropped(lane.point, lane.dropped, rows, score, stderr, tuple(lane.costs))
