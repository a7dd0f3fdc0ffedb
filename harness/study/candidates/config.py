# SPDX-License-Identifier: Apache-2.0
"""The YAML file of `dogerm study`: what it may say."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError

# A merge recipe, or a training's config: a file, or its content in place.
FileOrMapping: TypeAlias = str | dict[str, Any]
Texts: TypeAlias = str | int | float | list[str | int | float]

_NAME = re.compile(r"[^\W_][\w.+-]*")


class _Known(BaseModel):
    """A mapping of the file: only the keys and the types that it names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Sweep(_Known):
    """What `dogerm sweep` is asked for; its keys are the command's options.

    Attributes:
        select: tasks that choose; empty: those of the study.
    """

    recipe: FileOrMapping
    select: list[str] = []
    weight: Texts | None = None
    grid: dict[str, Texts] = {}
    path: str | None = None
    rule: Literal["best", "one-standard-error"] | None = None


class Search(_Known):
    """What `dogerm search` is asked for; its keys are the command's options.

    Attributes:
        select: tasks that choose; empty: those of the study.
    """

    recipe: FileOrMapping
    select: list[str] = []
    trials: int | None = None
    methods: str | None = None
    groups: str | None = None
    sampler: str | None = None
    prune: str | None = None
    param: dict[str, str] = {}
    seed: int | None = None


class Train(_Known):
    """What `dogerm train` is asked for.

    Attributes:
        kind: its subcommand.
        config: of the run; its ``training.seed`` is the study's.
        ensemble: so many members, of ``train reward``.
        domains: an adapter for each domain, of ``train reward``.
        dtype: that an adapter is exported in, as a whole model.
    """

    kind: Literal["reward", "hybrid", "sft", "gates", "router", "customized"]
    config: FileOrMapping
    ensemble: int | None = None
    domains: bool = False
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"


class Candidate(_Known):
    """What is compared: a model that is there, or how it is made, and how it is scored.

    Attributes:
        model: as lm-eval's ``--model``.
        model_args: as lm-eval's ``--model_args``.
        apply_chat_template: as lm-eval's; models of this project do it without being told.
        recipe: for ``mergekit-yaml``, or with a list of experts for ``mergekit-moe``.
        sweep: what is chosen by `dogerm sweep`.
        search: what is chosen by `dogerm search`.
        train: what is trained.
        report: false: it is made for other candidates only.
    """

    model: str | None = None
    model_args: dict[str, Any] = {}
    apply_chat_template: bool = False
    recipe: FileOrMapping | None = None
    sweep: Sweep | None = None
    search: Search | None = None
    train: Train | None = None
    report: bool = True

    @property
    def select(self) -> list[str]:
        """The tasks that it names to be chosen by."""
        chosen = self.sweep or self.search
        return chosen.select if chosen else []

    @property
    def made_by(self) -> str | None:
        """The key that says how it is made; None: it is there."""
        return next((key for key in MAKERS if getattr(self, key) is not None), None)


MAKERS = ("recipe", "sweep", "search", "train")


class Study(_Known):
    """All of the file.

    Attributes:
        general: the candidate that all others are compared to.
        tasks: group -> tasks that are reported.
        select: tasks that choose, for sweeps and searches that name none.
        seeds: of what is trained.
        metric: what is compared.
        model_args: of every candidate; its own come before them.
        batch_size: as lm-eval's.
        include_path: folders with tasks of one's own.
        metadata: as lm-eval's.
        candidates: by name.
    """

    general: str
    tasks: dict[str, list[str]]
    select: list[str] = []
    seeds: list[int] = [1]
    metric: str = "accuracy"
    model_args: dict[str, Any] = {}
    batch_size: int | Literal["auto"] = 8
    include_path: list[str] = []
    metadata: dict[str, Any] = {}
    candidates: dict[str, Candidate]


def read(path: Path) -> Study:
    """Read and check the file.

    Raises:
        HarnessError: not readable, not YAML, an unknown key, a value that makes no sense.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        study = Study.model_validate(content)
    except ValidationError as error:
        raise HarnessError(f"{path}: {_told(error)}") from error
    for mistake in _mistakes(study):
        raise HarnessError(f"{path}: {mistake}")
    return study


def _mistakes(study: Study) -> Iterator[str]:
    if study.general not in study.candidates:
        yield f"`general` is {study.general!r}, which is none of the candidates" + near(
            study.general, study.candidates
        )
    if not study.tasks or not all(study.tasks.values()):
        yield "`tasks` needs at least one group, and each group a task: domain: [facts.yaml]"
    if not study.seeds or len(set(study.seeds)) < len(study.seeds) or min(study.seeds) < 0:
        yield f"`seeds` is {study.seeds}: give one or more different ones, 0 or above"
    for group in study.tasks:
        if not _NAME.fullmatch(group):
            yield f"`tasks`: {group!r} is no name: letters, digits and . + - _"
    for name, one in study.candidates.items():
        where = f"candidate {name}"
        if not _NAME.fullmatch(name) or name == "seed":
            yield f"{where}: files are named by it: letters, digits and . + - _, and not `seed`"
        makers = [key for key in MAKERS if getattr(one, key) is not None]
        if len(makers) > 1:
            yield f"{where} has {' and '.join(makers)}: give one of them"
        if not makers and one.model is None:
            yield f"{where}: give `model` and `model_args`, or one of {', '.join(MAKERS)}"
        chosen = one.sweep or one.search
        if chosen and not (chosen.select or study.select):
            yield f"{where} is chosen by a {makers[0]}: name the tasks that choose, `select`"
        if one.train and (one.train.ensemble or one.train.domains) and one.train.kind != "reward":
            yield f"{where}: `ensemble` and `domains` are of `kind: reward`"
        several = one.train and (one.train.ensemble or one.train.domains)
        if one.report and not one.model and one.train and (several or one.train.kind in UNNAMED):
            yield (
                f"{where}: say how it is scored, as in model: reward-router, model_args: "
                f'{{router: "${{{name}}}/router.yml"}}, or report: false'
            )
    general = study.candidates.get(study.general)
    if general is not None and not general.report:
        yield f"`general` is {study.general}, which has report: false"


# Trainings whose folder is no single model.
UNNAMED = ("router", "customized")


def near(name: str, known: Mapping[str, Any]) -> str:
    """A hint after a name that is not known."""
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else f" ({', '.join(known)})"


def _told(error: ValidationError) -> str:
    """The mistake that got furthest, in one line, with its place as a path of keys."""
    mistake = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
    steps = [str(step) for step in mistake["loc"] if step not in ("str", "dict[str,any]")]
    place, last = "`" + ".".join(steps) + "`", "".join(steps[-1:])
    if mistake["type"] == "extra_forbidden":
        section: dict[str, type[BaseModel]] = {
            "sweep": Sweep,
            "search": Search,
            "train": Train,
            "candidates": Candidate,
        }
        found = (section[s] for s in reversed(steps[:-1]) if s in section)
        kind: type[BaseModel] = next(found, Study)
        return f"unknown key {place}{near(last, kind.model_fields)}"
    if mistake["type"] == "missing":
        return f"{place} is missing"
    return f"{place}: {mistake['msg'].lower()}, found {str(mistake['input'])[:60]!r}"
