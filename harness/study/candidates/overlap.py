# SPDX-License-Identifier: Apache-2.0
"""Which reported prompts a candidate of a study was trained on: it may know them by heart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows.conversation import asked
from harness.study.candidates.config import Candidate, Study
from harness.study.candidates.steps import content_of
from harness.training.config import Source
from harness.training.rows import ANSWERED, PAIR, has_pairs, read_rows
from harness.training.turns import parse_turns


def notes(study: Study, folder: Path, prompts: Mapping[str, Set[str]]) -> Iterator[str]:
    """A line for each training whose data hold reported prompts.

    Args:
        study: whose candidates are trained.
        folder: of its file.
        prompts: what each reported task asks, by the task's name.
    """
    wanted = {task: {one.lower() for one in of} for task, of in prompts.items()}
    for name, one in study.candidates.items():
        if one.train is None:
            continue
        learned: set[str] = set()
        drawn = ""
        for source, rows in _rows(one, folder):
            learned.update(asked(parse_turns(row["prompt"])).lower() for row in rows)
            if source.file is not None and source.rows is not None and source.rows < len(rows):
                drawn += f"; {source.rows} of the {len(rows)} rows of {source.file} are drawn"
        shared = {task: len(of & learned) for task, of in wanted.items()}
        shares = [f"{n} of {len(wanted[task])} of {task}" for task, n in shared.items() if n]
        if shares:
            told = ", ".join(shares) + drawn
            yield (
                f"{name}: its training data hold prompts that are reported ({told}): "
                "what it scores there, and what is made of it, is knowledge of these prompts"
            )


def _rows(one: Candidate, folder: Path) -> Iterator[tuple[Source, list[dict[str, Any]]]]:
    """All rows of each source that can be read; how many of them are drawn it says itself."""
    assert one.train is not None
    given = one.train.config
    place = (folder / given).parent if isinstance(given, str) else folder
    for source in _sources(content_of(given, folder)):
        try:
            said = Source.model_validate(source)
            rows = read_rows(said, PAIR if has_pairs(said, place) else ANSWERED, place)
        except (HarnessError, ValueError):
            continue  # the training itself tells what is wrong with it
        yield said, rows


def _sources(config: Mapping[str, Any]) -> Iterator[Any]:
    """All that is trained on, in a stage of its own or not."""
    for key, value in config.items():
        if key == "data" and isinstance(value, list):
            yield from value
        elif isinstance(value, Mapping) and key != "validation":
            yield from _sources(value)
