# SPDX-License-Identifier: Apache-2.0
"""What sweep.json and search.json hold, for the type checker and for pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

_EXACT = with_config(ConfigDict(strict=True, allow_inf_nan=False, extra="allow"))


@_EXACT
class Section(TypedDict):
    """A task or group that was scored; `depth` counts the groups that it is in."""

    name: str
    depth: Annotated[int, Field(ge=0)]
    is_group: bool
    score: float
    stderr: float | None
    items: int


@_EXACT
class Seconds(TypedDict):
    merge: float
    score: float


@_EXACT
class Reported(TypedDict):
    """A weight on the report rows."""

    label: str
    weights: list[float]
    total: float
    sections: Annotated[list[Section], Field(min_length=1)]


@_EXACT
class Point(Reported):
    """A weight on the selection rows."""

    score: float
    stderr: float | None
    items: int
    seconds: Seconds


@_EXACT
class Compared(TypedDict):
    """A section of two models on the same rows, as `harness.compare` tells it."""

    name: str
    depth: Annotated[int, Field(ge=0)]
    is_group: bool
    items: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    p: float
    test: Literal["mcnemar", "sign-flip"]
    p_holm: float
    verdict: Literal["better", "worse", "noise", "same"]


@_EXACT
class Proof(TypedDict):
    a: str
    b: str
    metric: str
    confidence: float
    resamples: int
    seed: int
    sections: list[Compared]
    notes: list[str]


@_EXACT
class Margins(TypedDict):
    tasks: list[str]
    items: int
    edges: list[float]
    counts: dict[str, list[int]]
    mean: dict[str, float]


@_EXACT
class Memory(TypedDict):
    resident: int
    model: int


@_EXACT
class Made(TypedDict):
    """How the file came about; `peak_memory` in bytes."""

    date: str
    command: str
    seconds: float
    scoring_seconds: NotRequired[float]
    merging_seconds: NotRequired[float]
    peak_memory: Memory
    versions: dict[str, str]
    machine: dict[str, str | int | None]
    model_args: dict[str, Any]
    batch_size: str
    seed: int


@_EXACT
class Recipe(TypedDict):
    path: str
    text: str


@_EXACT
class Common(TypedDict):
    form: Literal[1]
    made: Made
    recipe: Recipe
    best_recipe: str
    reward_model: str
    domain_models: Annotated[list[str], Field(min_length=1)]
    metric: str
    higher_is_better: bool
    select: list[str]
    report: list[str]
    split: float | None
    proof: Proof | None
    notes: list[str]


@_EXACT
class Sweep(Common):
    kind: Literal["sweep"]
    rule: Literal["best", "one-standard-error"]
    points: Annotated[list[Point], Field(min_length=1)]
    best: Annotated[int, Field(ge=0)]
    chosen: Annotated[int, Field(ge=0)]
    reported: Annotated[list[Reported], Field(min_length=1)]
    margins: Margins | None


@_EXACT
class Trial(TypedDict):
    number: int
    params: dict[str, Any]
    score: float | None
    stderr: float | None
    state: Literal["complete", "pruned", "failed"]
    seconds: float | None


@_EXACT
class SideBySide(TypedDict):
    """A score on the selection rows and on the report rows."""

    select: float
    select_stderr: float | None
    report: float
    report_stderr: float | None


@_EXACT
class Top(SideBySide):
    number: int
    params: dict[str, Any]


@_EXACT
class Baseline(SideBySide):
    """The best single λ of a plain sweep."""

    label: str
    weights: list[float]


@_EXACT
class Search(Common):
    kind: Literal["search"]
    sampler: str
    trials: list[Trial]
    top: Annotated[list[Top], Field(min_length=1)]
    baseline: Baseline
    storage: str
    proof_baseline: Proof | None
