# SPDX-License-Identifier: Apache-2.0
"""The rows that a task's YAML asks for, and those that no task takes."""

from __future__ import annotations

import difflib
import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.rows import datasets
from harness.rows.documents import Docs

logger = logging.getLogger(f"lm_eval.{__name__}")  # so that lm-eval's log settings hold

# What `--metadata` may hold for the tasks of this project.
KEYS = ("data_dir", "missing")
HUB = "hub"

_told: set[str] = set()
_counted: set[str] = set()


def takes_the_hubs(metadata: Mapping[str, Any]) -> bool:
    """Whether what a folder of local data lacks comes from the Hub: ``missing: hub``.

    Raises:
        HarnessError: another value.
    """
    given = metadata.get("missing", HUB)
    if given != HUB:
        raise HarnessError(f"--metadata: missing is {given!r}, expected {HUB!r}, or no such key")
    return "missing" in metadata


def rows(schema: datasets.Schema, config: Any) -> datasets.Rows:
    """The benchmark's rows, all subsets, for a YAML's keys or the TaskConfig made of them.

    Raises:
        HarnessError: a key of ``--metadata`` is misspelt, or as `harness.rows.datasets.load`.
    """
    options, metadata = config["dataset_kwargs"], config["metadata"] or {}
    for key, known in itertools.product(metadata, KEYS):
        if key not in KEYS and difflib.SequenceMatcher(None, key, known).ratio() > 0.8:
            raise HarnessError(f"--metadata: unknown key {key!r}; did you mean {known!r}?")
    packaged = options.get("packaged")
    return datasets.load(
        options["benchmark"],
        schema,
        hub_id=options.get("hub_id"),
        hub_name=options.get("hub_name"),
        hub_dir=options.get("hub_dir"),
        split=config["test_split"],
        packaged=Path(metadata["config_source"]).parent / packaged if packaged else None,
        data_dir=metadata.get("data_dir"),
        or_hub=takes_the_hubs(metadata),
        where=options.get("where"),
    )


def tell_unused(source: str, parts: Mapping[str, Docs], config: Any) -> None:
    """Warn, once a source, of rows whose subset is not the name of any task of the benchmark."""
    benchmark = config["dataset_kwargs"]["benchmark"]
    yamls = Path(config["metadata"]["config_source"]).parent.glob(f"{benchmark}-*.yaml")
    known = {path.stem.removeprefix(f"{benchmark}-") for path in yamls}
    unused = {subset: len(docs) for subset, docs in parts.items() if subset not in known}
    if known and unused and source not in _told:
        _told.add(source)
        logger.warning(
            "%s: not evaluated, as %s has no such subset: %s",
            source,
            benchmark,
            ", ".join(f"{subset} ({count} rows)" for subset, count in unused.items()),
        )


def tell_other_numbers(schema: datasets.Schema, count: int, source: str, config: Any) -> None:
    """Warn where there are not as many documents, or rows, as the official data set has.

    Args:
        schema: of the rows.
        count: how many documents the task has; ``metadata.rows`` is the official number.
        source: where they are from.
        config: the task's; its ``metadata.raw_rows`` is the official number of rows, of which one
            task of those that share a source tells.
    """
    metadata = config["metadata"]
    _tell_if_other(config["task"], count, source, metadata.get("rows"))
    if "raw_rows" in metadata and source not in _counted:
        _counted.add(source)
        found = len(rows(schema, config).rows)
        _tell_if_other(config["dataset_kwargs"]["benchmark"], found, source, metadata["raw_rows"])


def _tell_if_other(name: str, found: int, source: str, official: int | None) -> None:
    if official is not None and official != found:
        logger.warning(
            "%s: %d rows in %s, the official set has %d: not comparable with published scores",
            name,
            found,
            source,
            official,
        )
