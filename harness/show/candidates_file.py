# SPDX-License-Identifier: Apache-2.0
"""What study.json holds: the classes that write it and that its table, page and picture read."""

from __future__ import annotations

from typing import Any

from harness.compare.paired import Record

FORM = 1


class GroupScore(Record):
    """A candidate on a group of tasks.

    Attributes:
        score: the mean over seeds of the mean over the group's tasks.
        stderr: over the rows, each row's value being its mean over seeds.
        by_seed: of each seed, by its number; empty where there is none.
        tasks: of each task, the mean over seeds.
    """

    score: float
    stderr: float | None
    by_seed: dict[str, float]
    tasks: dict[str, float]


class Against(Record):
    """The paired difference to the general candidate on the same rows, candidate − general.

    Attributes:
        low: lower end of the 95% bootstrap interval over rows; `high`: the upper one.
        p: two-sided.
        test: how p was found: mcnemar, or drawn (sign-flip).
        p_holm: p corrected over the candidates, within the group of tasks.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    p_holm: float
    gained: int
    lost: int


class Parameters(Record):
    """How many are in memory, and how many of them work on an answer."""

    stored: int
    active: int


class CandidateScores(Record):
    """One candidate.

    Attributes:
        kind: ``model``, or how it was made: recipe, sweep, search, train.
        seeds: of its variants; empty where nothing of it depends on a seed.
        error: why it has no result; all else is empty then.
        groups: by the name of the group of tasks.
        against: the same; empty for the general candidate.
        chosen: what a sweep or search chose, in words, by variant.
        training_tokens: trained on in this study for it, the mean over seeds; None: nothing was.
        training_seconds: the same.
        scoring_seconds: of one variant, all tasks.
        runs: of each variant the folder of its lm-eval runs, below that of the study.
    """

    name: str
    kind: str
    seeds: list[int]
    error: str | None
    groups: dict[str, GroupScore]
    against: dict[str, Against]
    chosen: dict[str, str]
    parameters: Parameters | None
    training_tokens: int | None
    training_seconds: float | None
    scoring_seconds: float | None
    runs: dict[str, str]


class CandidatesFile(Record):
    """All of study.json.

    Attributes:
        made: when, by which command, on which machine, with which versions.
        study: the text of the study's file.
        groups: group -> task -> its rows.
        failed: what was not reported itself and failed, with why.
    """

    form: int
    kind: str
    made: dict[str, Any]
    study: str
    general: str
    metric: str
    higher_is_better: bool
    confidence: float
    select: list[str]
    groups: dict[str, dict[str, int]]
    candidates: list[CandidateScores]
    failed: dict[str, str]
    notes: list[str]

    @property
    def scored(self) -> list[CandidateScores]:
        """Those that have a result."""
        return [one for one in self.candidates if one.error is None]
