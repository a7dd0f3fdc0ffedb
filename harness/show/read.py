# SPDX-License-Identifier: Apache-2.0
"""Reading what a sweep or a search has written: checked whole before any of it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.runs.results import read_json
from harness.show.study_file import FILES, FORM, PointScores, SearchFile, SweepFile, parsed


def read(path: Path) -> SweepFile | SearchFile:
    """What a sweep or search has written, checked whole.

    Args:
        path: the file, or the folder that it is in.

    Raises:
        HarnessError: none or both there, another form, or something in it that does not fit.
    """
    file = _find(path)
    content = read_json(file)
    if content.get("form") != FORM:
        raise HarnessError(
            f"{file} is of form {content.get('form')!r}, expected {FORM}: it is of another "
            "version of dogerm; run its sweep or search again with this one"
        )
    try:
        study = parsed(content)
    except ValidationError as error:
        raise _unfit(file, *_place(error)) from error
    if isinstance(study, SweepFile):
        for place, problem in _contradictions(study):
            raise _unfit(file, place, problem)
    return study


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    here = [path / name for name in FILES if (path / name).is_file()]
    if len(here) == 1:
        return here[0]
    if here:
        raise HarnessError(f"{path} has both {' and '.join(FILES)}: give the file that you mean")
    raise HarnessError(f"{path} has no {' or '.join(FILES)}: give the -o folder of a sweep")


def _place(error: ValidationError) -> tuple[str, str]:
    """Where the first mistake is, as ``points.3.score``, and what it is."""
    first = error.errors(include_url=False)[0]
    steps = [str(step) for step in first["loc"][1:]]  # the first is the kind
    if not steps:
        return "kind", first["msg"]
    given = "" if first["type"] == "missing" else f", found {str(first['input'])[:60]!r}"
    return ".".join(steps), f"{first['msg']}{given}"


def _contradictions(sweep: SweepFile) -> Iterator[tuple[str, str]]:
    """What is right in itself, but does not fit the rest of the file."""
    count = len(sweep.points)
    for key, index in (("best", sweep.best), ("chosen", sweep.chosen)):
        if index >= count:
            yield key, f"found {index}, expected an index of the {count} points"
    lists: tuple[tuple[str, Sequence[PointScores]], ...] = (
        ("points", sweep.points),
        ("reported", sweep.reported),
    )
    for key, points in lists:
        names = [section.name for section in points[0].sections]
        for number, point in enumerate(points):
            if [section.name for section in point.sections] != names:
                yield f"{key}.{number}.sections", f"other sections than in {key}.0"
            if len(point.weights) != len(sweep.domain_models):
                yield f"{key}.{number}.weights", "expected one for each of domain_models"
    for number, dropped in enumerate(sweep.dropped):
        if len(dropped.weights) != len(sweep.domain_models):
            yield f"race.dropped.{number}.weights", "expected one for each of domain_models"
    if margins := sweep.margins:
        for label, counts in margins.counts.items():
            if len(counts) != len(margins.edges) - 1 or label not in margins.mean:
                yield f"margins.counts.{label}", "does not fit margins.edges or margins.mean"


def _unfit(file: Path, place: str, problem: str) -> HarnessError:
    return HarnessError(f"{file}: {place}: {problem}; run the sweep or search again to write it")
