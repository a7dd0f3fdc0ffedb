# SPDX-License-Identifier: Apache-2.0
"""The commands that make and score a variant, and what each was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.study.candidates import kept
from harness.study.candidates.config import Candidate, FileOrMapping, Study
from harness.study.candidates.variants import Variant, replaced

TRAIN, EXPORT, CHOOSE, MERGE, SCORE = "train", "export", "choose", "merge", "score"
_VERBS = {
    TRAIN: "training",
    EXPORT: "exporting",
    CHOOSE: "choosing",
    MERGE: "merging",
    SCORE: "scoring",
}
# The commands that know what is in their folder: they go on there, or set it aside.
_KEEPING = (CHOOSE, SCORE)


@dataclass(frozen=True)
class Step:
    """One command of a study; it can be pickled.

    Attributes:
        kind: what it does.
        told: what it does, for messages.
        called: ``MODULE:FUNCTION`` and its arguments.
        output: the folder that it fills.
        made_with: part -> its text or digest.
        needs: the names of the steps before it.
        files: what is written before it starts, below the study's folder.
    """

    kind: str
    variant: Variant
    called: tuple[str, ...]
    output: Path
    made_with: Mapping[str, str]
    needs: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def name(self) -> str:
        """Names its record and its log."""
        return f"{self.kind}-{self.variant.label}"

    @property
    def told(self) -> str:
        """As messages have it."""
        return f"{_VERBS[self.kind]} {self.variant.told}"

    @property
    def keeps(self) -> bool:
        """Whether its command sees to what its folder holds."""
        return self.kind in _KEEPING


def contents(candidate: Candidate, folder: Path) -> dict[str, Any]:
    """All that a candidate says, with the content of its recipe and its config in their place.

    Args:
        candidate: of the study.
        folder: of the study's file.

    Raises:
        HarnessError: a file can't be read.
    """
    said = candidate.model_dump(exclude_unset=True)
    for key in ("recipe", "sweep", "search", "train"):
        one = said.get(key)
        if one is None:
            continue
        if key == "recipe":
            said[key] = content_of(one, folder)
        else:
            inner = "config" if key == "train" else "recipe"
            said[key] = {**one, inner: content_of(one[inner], folder)}
    return said


def content_of(given: FileOrMapping, folder: Path) -> Any:
    """A recipe or a config, from its file where it is not in place.

    Raises:
        HarnessError: it can't be read, or is no mapping.
    """
    if isinstance(given, Mapping):
        return given
    content = kept.read_yaml(folder / given)
    if not isinstance(content, dict):
        raise HarnessError(f"{folder / given}: expected `key: value` lines")
    return content


def folder_of(
    variant: Variant, reference: str, places: Mapping[tuple[str, str], str], study: Study
) -> Any:
    """What ``${reference}`` stands for in what a variant says.

    Args:
        variant: whose text it is.
        reference: a candidate's name, with ``.adapter`` where that is meant, or ``seed``.
        places: (label of a variant, what of it) -> folder.
        study: all candidates.

    Raises:
        HarnessError: that candidate has no such folder.
    """
    if reference == "seed":
        return variant.seed
    name = reference if reference in study.candidates else reference.rpartition(".")[0]
    of = variant if name == variant.name else variant.needs[name]
    what = "model" if reference in study.candidates else "adapter"
    place = places.get((of.label, what))
    if place is None:
        why = (
            "is no adapter that is trained here"
            if what == "adapter"
            else "is no single folder: it is scored as it says"
        )
        raise HarnessError(f"candidate {variant.name}: ${{{reference}}}: {name} {why}")
    return place


def options(**given: Any) -> list[str]:
    """Options of a command; lists repeat one, mappings are NAME=VALUES, None is left out.

    >>> options(weight="0:1:0.5", grid={"density": [0.2, 0.5]}, path=None)
    ['--weight', '0:1:0.5', '--grid', 'density=0.2,0.5']
    """
    made: list[str] = []
    for name, value in given.items():
        if value is None:
            continue
        several: Sequence[Any] = (
            [f"{key}={_listed(one)}" for key, one in value.items()]
            if isinstance(value, Mapping)
            else [_listed(value)]
        )
        for one in several:
            made += [f"--{name.replace('_', '-')}", str(one)]
    return made


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def filled(
    value: Any, variant: Variant, places: Mapping[tuple[str, str], str], study: Study
) -> Any:
    """What a variant says with every reference replaced."""
    return replaced(value, lambda reference: folder_of(variant, reference, places, study))
