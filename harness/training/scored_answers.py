# SPDX-License-Identifier: Apache-2.0
"""Rows whose answers have scores, as preference pairs: lists of answers, or UltraFeedback's two.

    {"prompt": "...", "responses": ["...", "...", "..."], "scores": [7, 3.5, 7]}
    {"prompt": "...", "chosen": ..., "rejected": ..., "score_chosen": 8, "score_rejected": 6.5}

A list makes a pair of each two answers of unequal score, or of the best against each other. Two of
one score are a tie: nobody said which is better, so they make no pair, and are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, combinations
from typing import Any

from harness.errors import HarnessError
from harness.training.config import BEST, Source
from harness.training.numbers import as_number, number_in

SCORE_CHOSEN, SCORE_REJECTED = "score_chosen", "score_rejected"
PLACE = "__row__"  # the number, in its file, of the row that a pair was made of
FAULT = "__fault__"


def is_list(row: Mapping[str, Any], source: Source) -> bool:
    """Whether a row has a list of answers with scores."""
    columns = source.columns
    return isinstance(row.get(columns.responses), list) and columns.scores in row


def is_scored_pair(row: Mapping[str, Any]) -> bool:
    """Whether both answers of a pair have a score, as UltraFeedback's do."""
    return SCORE_CHOSEN in row and SCORE_REJECTED in row


class ScoredAnswers:
    """The rows of a table as pairs; other tables as they are.

    Attributes:
        lists: rows that were lists.
        pairs: made of them, or taken over.
        ties: left out: of one score.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.lists = self.pairs = self.ties = 0

    def pairs_of(self, table: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Each row, or its pairs; a pair has under `PLACE` the number of its row.

        A row that makes no pair because something is wrong with it comes with that as `FAULT`.
        """
        rows = iter(table)
        first = next(rows, None)
        if first is None:
            return
        listed = is_list(first, self._source)
        if not listed and not is_scored_pair(first):
            yield first
            yield from rows
            return
        make = self._of_list if listed else self._of_pair
        for number, row in enumerate(chain([first], rows), 1):
            try:
                made = make(row)
            except HarnessError as error:
                yield {**row, PLACE: number, FAULT: str(error)}
                continue
            self.lists += listed
            self.pairs += len(made)
            for pair in made:
                yield {**pair, PLACE: number}

    def lines(self) -> Iterator[str]:
        """What is told of lists and ties."""
        one_score = f"{self.ties:,} ties (two answers of one score) are left out"
        if self.lists:
            best = " (the best against each other)" if self._source.pairs == BEST else ""
            yield f"{self.lists:,} lists of answers make {self.pairs:,} pairs{best}; {one_score}"
        elif self.ties:
            yield f"{one_score}, {self.pairs:,} pairs are kept"

    def _of_pair(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        one, other = number_in(row, SCORE_CHOSEN), number_in(row, SCORE_REJECTED)
        if one < other:
            raise HarnessError(
                f"column {SCORE_CHOSEN} is {one:g}, below {SCORE_REJECTED} {other:g}: the answers "
                "stand the wrong way round; swap the two, or leave the row out"
            )
        self.ties += one == other
        return [] if one == other else [row]

    def _of_list(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        columns = self._source.columns
        answers, scores = row.get(columns.responses), row.get(columns.scores)
        if not isinstance(answers, list) or not isinstance(scores, list):
            raise HarnessError(
                f"columns {columns.responses} and {columns.scores}: expected two lists, as row 1 "
                "has them"
            )
        if len(answers) != len(scores) or len(answers) < 2:
            raise HarnessError(
                f"column {columns.responses} has {len(answers)} answers and {columns.scores} "
                f"{len(scores)} scores, expected two or more, and as many"
            )
        numbers: list[float] = []
        for place, score in enumerate(scores, 1):
            if (number := as_number(score)) is None:
                raise HarnessError(
                    f"column {columns.scores}: score {place} is {score!r}, expected a number"
                )
            numbers.append(number)
        order = sorted(range(len(numbers)), key=lambda i: -numbers[i])  # equal ones as they stand
        two: Iterator[tuple[int, int]] = combinations(order, 2)
        if self._source.pairs == BEST:
            two = iter([(order[0], other) for other in order[1:]])
        rest = {k: v for k, v in row.items() if k not in (columns.responses, columns.scores)}
        made = []
        for better, worse in two:
            if numbers[better] == numbers[worse]:
                self.ties += 1
                continue
            both = {columns.chosen: answers[better], columns.rejected: answers[worse]}
            made.append({**rest, **both})
        return made


def taken_off(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """A row without what `ScoredAnswers` has put there.

    Raises:
        HarnessError: the row's fault, with where it stands.
    """
    if FAULT in raw:
        raise HarnessError(f"{where}: {raw[FAULT]}")
    return {key: value for key, value in raw.items() if key != PLACE} if PLACE in raw else raw
