# SPDX-License-Identifier: Apache-2.0
"""What sweep.json and search.json hold: the classes that write them and read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from harness.compare.paired import PairedComparison, Record

FORM = 1
FILES = ("sweep.json", "search.json")


class SectionScore(Record):
    """A task or group that was scored; `depth` counts the groups that it is in."""

    name: str
    depth: Annotated[int, Field(ge=0)]
    is_group: bool
    score: float
    stderr: float | None
    items: int


class Seconds(Record):
    """How long a merge and its scoring took."""

    merge: float
    score: float


class PointScores(Record):
    """What was scored at a point of a sweep: on the report rows, all there is of it."""

    label: str
    weights: list[float]
    total: float
    sections: Annotated[list[SectionScore], Field(min_length=1)]


class SweptPoint(PointScores):
    """A point on the selection rows, with the score that chose."""

    score: float
    stderr: float | None
    items: int
    seconds: Seconds


class Proof(PairedComparison):
    """Two models on the report rows; `a` and `b` are their labels."""

    a: str
    b: str


class Margins(Record):
    """Histograms of chosen − rejected, one for each label, with the same `edges`."""

    tasks: list[str]
    items: int
    edges: list[float]
    counts: dict[str, list[int]]
    mean: dict[str, float]


class Memory(Record):
    """Bytes: at the peak, and of the loaded model alone."""

    resident: int
    model: int


class Making(Record):
    """How a study's file came about: command, time, memory, versions, settings."""

    date: str
    command: str
    seconds: float
    scoring_seconds: float | None = None
    merging_seconds: float | None = None
    peak_memory: Memory
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    model_args: dict[str, Any]
    batch_size: str
    seed: int


class RecipeText(Record):
    """The recipe that was given, comments and all."""

    path: str
    text: str


class StudyFile(Record):
    """What a sweep and a search have in common; `parameter` is what points are shown by."""

    form: Literal[1]
    made: Making
    recipe: RecipeText
    best_recipe: str
    reward_model: str
    domain_models: Annotated[list[str], Field(min_length=1)]
    parameter: str = "λ"
    metric: str
    higher_is_better: bool
    select: list[str]
    report: list[str]
    split: float | None
    proof: Proof | None
    notes: list[str]


class DroppedPoint(Record):
    """A point that a race dropped: `score` is of `rows` rows only, and nothing is chosen by it."""

    label: str
    weights: list[float]
    total: float
    why: Literal["significant", "halving"]
    rows: int
    score: float
    stderr: float | None
    seconds: Seconds


class RaceFound(Record):
    """What a race dropped of a sweep's points.

    `share` is how much of points times rows was scored; `alpha` the chance that the best point was
    dropped as `significant`.
    """

    rule: Literal["significant", "halving"]
    alpha: float
    rows: int
    share: float
    dropped: list[DroppedPoint]


class SweepFile(StudyFile):
    """sweep.json; `best` and `chosen` are indices of `points`, which were measured in full."""

    kind: Literal["sweep"]
    rule: Literal["best", "one-standard-error"]
    points: Annotated[list[SweptPoint], Field(min_length=1)]
    best: Annotated[int, Field(ge=0)]
    chosen: Annotated[int, Field(ge=0)]
    reported: Annotated[list[PointScores], Field(min_length=1)]
    margins: Margins | None
    race: RaceFound | None = None

    @property
    def dropped(self) -> list[DroppedPoint]:
        """The points that were not measured in full."""
        return self.race.dropped if self.race else []

    @property
    def tried(self) -> list[SweptPoint | DroppedPoint]:
        """All points, by how much there is of the domain models."""
        if not self.dropped:
            return [*self.points]
        both: list[SweptPoint | DroppedPoint] = [*self.points[1:], *self.dropped]
        return [self.points[0], *sorted(both, key=lambda point: (point.total, point.weights))]

    @property
    def best_point(self) -> SweptPoint:
        return self.points[self.best]

    @property
    def chosen_point(self) -> SweptPoint:
        return self.points[self.chosen]


class Trial(Record):
    """One of a search's merges; a pruned one's score is of a part of the rows."""

    number: int
    params: dict[str, Any]
    score: float | None
    stderr: float | None
    state: Literal["complete", "pruned", "failed"]
    seconds: float | None


class SideBySide(Record):
    """A score on the selection rows and on the report rows."""

    select: float
    select_stderr: float | None
    report: float
    report_stderr: float | None


class TopTrial(SideBySide):
    """One of the best trials."""

    number: int
    params: dict[str, Any]


class BestOfSweep(SideBySide):
    """The best single λ of a plain sweep."""

    label: str
    weights: list[float]


class SearchFile(StudyFile):
    """search.json; `baseline` is what a plain sweep found."""

    kind: Literal["search"]
    sampler: str
    trials: list[Trial]
    top: Annotated[list[TopTrial], Field(min_length=1)]
    baseline: BestOfSweep
    storage: str
    proof_baseline: Proof | None


_KINDS: TypeAdapter[SweepFile | SearchFile] = TypeAdapter(
    Annotated[SweepFile | SearchFile, Field(discriminator="kind")]
)


def parsed(content: Mapping[str, Any]) -> SweepFile | SearchFile:
    """The content of a file, or what is to be written to one.

    Raises:
        pydantic.ValidationError: something in it does not fit.
    """
    return _KINDS.validate_python(content)
