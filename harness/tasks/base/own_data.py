# SPDX-License-Identifier: Apache-2.0
"""A user's own preference set as an lm-eval task, from a YAML of five lines.

See harness/tasks/preference/README.md. A YAML names `OwnPreferences` and sets ``dataset_path`` (a
JSONL, JSON, CSV or Parquet file, or a data set that `datasets.load_dataset` loads),
``dataset_name`` and ``test_split`` for the latter, ``columns`` (the fields of
`harness.rows.pairs.Columns`), and ``allow_markup`` where texts may hold the model's special tokens.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lm_eval.api.group import Group

from harness.errors import HarnessError, at
from harness.rows.columns import ColumnCells
from harness.rows.conversation import Origin
from harness.rows.datasets import OWN_PREFERENCE, from_hub
from harness.rows.documents import Docs, Document, by_subset
from harness.rows.local_files import ENDINGS, ending, read
from harness.rows.pairs import Columns, pair, with_guess
from harness.tasks.base.made_group import MadeGroup, group_config
from harness.tasks.base.preference import PreferenceTask

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

KEYS = (
    "allow_markup",
    "class",
    "columns",
    "dataset_name",
    "dataset_path",
    "metadata",
    "tag",
    "task",
    "task_alias",
    "test_split",
)

ADVICE = f"correct dataset_path, dataset_name or test_split, or name a {', '.join(ENDINGS)} file"

# In a task's name: commas and globs mean something to --tasks, and samples are files by that name.
UNUSABLE = re.compile(r"[^\w.-]+")


class Source(NamedTuple):
    """Where the rows of a user's set are: a file, or a data set and its split.

    Attributes:
        name: a file's path, or what `datasets.load_dataset` takes.
        stamp: what tells a changed file from the one read before; None for other data sets.
        configuration: of a data set with several.
        split: of a data set.
    """

    name: str
    stamp: tuple[int, int] | None
    configuration: str | None
    split: str

    def __str__(self) -> str:
        return self.name if self.stamp else f"{self.name} ({self.split})"


class OwnPreferences(MadeGroup, PreferenceTask):
    """Pairs of a user's own set: one task, or with ``columns.section`` a group of one a section."""

    DOTTED_NAME = "harness.own_data.OwnPreferences"

    def __new__(cls, *args: Any, config: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        """The task, or the group ``<task>`` of tasks ``<task>-<section>``, weighted by rows."""
        if config is not None and not _is_leaf(config):
            config = _checked(config)
            source, parts = cls.parts(config)
            if config["dataset_kwargs"]["columns"].section is not None:
                return cls._group(config, source, list(parts))
        return super().__new__(cls)

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(config if config is None or _is_leaf(config) else _checked(config))

    @classmethod
    def _group(cls, config: dict[str, Any], source: str, sections: list[str]) -> Group:
        """A group like a benchmark's section, with a leaf for each of the set's sections."""
        names = _leaf_names(config["task"], sections, source)
        metadata = {**config["metadata"], "data_source": source}
        leaf = {**config}
        rules = group_config(config["task"], metadata, leaf.pop("task_alias", None))
        options = [{**config["dataset_kwargs"], "section": section} for section in sections]
        leaves = (
            cls(config={**leaf, "task": name, "dataset_kwargs": own})
            for name, own in zip(names, options, strict=True)
        )
        return cls.group(rules, leaves)

    def beside(self, doc: Document) -> dict[str, Any]:
        """The row's tools and documents."""
        return {key: doc[key] for key in ("tools", "documents") if key in doc}

    def origin(self, doc: Document) -> Origin:
        """The row, for messages; nothing of it may be lost."""
        options = self.config.dataset_kwargs
        where = f"{options['source']}, row {doc['row']}"
        return Origin(where, strict=True, allow_markup=options["allow_markup"])

    @classmethod
    def parts(cls, config: Any) -> tuple[str, dict[str, Docs]]:
        """Where the pairs are from, and those of this task by section."""
        options = config["dataset_kwargs"]
        parts = _pairs(options["source"], options["columns"])
        section = options.get("section")
        return str(options["source"]), parts if section is None else {section: parts[section]}


def _is_leaf(config: Mapping[str, Any]) -> bool:
    """Whether `OwnPreferences` made these keys itself, for one of its sections."""
    return isinstance((config.get("dataset_kwargs") or {}).get("source"), Source)


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """A user's keys as `CandidateTask` knows them: source and columns in ``dataset_kwargs``."""
    about = f"task {config['task']}"
    unknown = [key for key in config if key not in KEYS]
    if unknown:
        raise HarnessError(
            f"{about}: a preference set has no key {with_guess(unknown[0], KEYS)}; it has "
            f"{', '.join(KEYS)}"
        )
    given = dict(config)
    with at(about):
        columns = Columns.of(given.pop("columns", None))
    given["metadata"] = dict(config.get("metadata") or {})
    given["test_split"] = str(config.get("test_split") or "test")
    source = _source(
        config.get("dataset_path"),
        given.pop("dataset_name", None),
        given["test_split"],
        given["metadata"].get("config_source"),
        about,
    )
    allowed = given.pop("allow_markup", False)
    if not isinstance(allowed, bool):
        raise HarnessError(f"{about}: allow_markup is {allowed!r}, expected true or false")
    options = {"source": source, "columns": columns, "allow_markup": allowed}
    return {**given, "dataset_kwargs": options}


def _source(path: Any, name: str | None, split: str, yaml: str | None, about: str) -> Source:
    """A file beside the YAML or in the current folder, or a data set's folder or Hub id."""
    if not isinstance(path, str) or not path:
        raise HarnessError(
            f"{about}: dataset_path is {path!r}, expected a {', '.join(ENDINGS)} file or a data "
            "set on the Hub"
        )
    folders = [Path(yaml).parent] if yaml and yaml != "inline" else []
    places = [folder / Path(path).expanduser() for folder in [*folders, Path.cwd()]]
    existing = next((place for place in places if place.exists()), None)
    if existing is None and ending(Path(path)):
        # Given a YAML's path, lm-eval does not tell the task where the YAML is.
        raise HarnessError(
            f"{about}: there is no {' and no '.join(map(str, dict.fromkeys(places)))}; write an "
            "absolute dataset_path, or one that starts at the current folder, or name the YAML's "
            "folder with --include_path and the task by its name"
        )
    if existing is None or existing.is_dir():
        return Source(path if existing is None else str(existing), None, name, split)
    if not ending(existing):
        raise HarnessError(
            f"{about}: {existing} is no {', '.join(ENDINGS)} file (or .gz, .zst of one)"
        )
    if name is not None:
        raise HarnessError(f"{about}: dataset_name is {name!r}, but {existing} is a single file")
    stat = existing.stat()
    return Source(str(existing), (stat.st_mtime_ns, stat.st_size), None, split)


@functools.cache
def _pairs(source: Source, columns: Columns) -> dict[str, Docs]:
    """The pairs of a set by section, read and checked once per process."""
    docs = Docs(_read(source, columns))
    if not docs:
        raise HarnessError(f"{source} holds no rows; expected pairs to compare")
    OWN_PREFERENCE.check(docs, str(source))  # tells of empty responses
    return by_subset(docs)


def _read(source: Source, columns: Columns) -> Iterator[Document]:
    rows = (
        read(Path(source.name))
        if source.stamp
        else from_hub(source.name, source.split, source.configuration, advice=ADVICE)
    )
    passed, number = ColumnCells(columns._asdict(), columns.unused), 0
    for number, row in enumerate(rows, start=1):
        passed.see(row)
        with at(f"{source}, row {number}"):
            doc = pair(row, columns)
        yield {"row": number, "subset": "", **doc}
    with at(source):
        passed.refuse_missing()
    for line in passed.lines(number):
        logger.warning("%s: %s", source, line)


def _leaf_names(task: str, sections: list[str], source: str) -> list[str]:
    """``<task>-<section>``, with ``-`` for what a name can't hold."""
    names: dict[str, str] = {}
    for section in sections:
        slug = UNUSABLE.sub("-", section).strip("-")
        if not slug:
            raise HarnessError(f"{source}: section {section!r} has no letter or digit; rename it")
        name = f"{task}-{slug}"
        if name in names:
            raise HarnessError(
                f"{source}: sections {names[name]!r} and {section!r} would both be the task "
                f"{name}; rename one"
            )
        names[name] = section
    return list(names)
