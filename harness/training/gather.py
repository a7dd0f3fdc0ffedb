"""From the configured sources to the rows of a run: held out, not too long, balanced, chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError
from harness.rows.conversation import Conversation
from harness.training.config import Config, Source
from harness.training.rows import choose_rows, read_rows
from harness.training.split import split_rows, without_prompts

Encode = Callable[[dict[str, Any]], dict[str, Any]]
Read = Callable[[Source, tuple[str, ...], Path], list[dict[str, Any]]]


class NothingLeftError(HarnessError):
    """The data can be read, and no row of them is left."""


@dataclass
class Part:
    """Rows of one source with their token ids, in the same order."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    ids: list[dict[str, Any]] = field(default_factory=list)

    def places(self) -> list[str]:
        """Where each row stands: its file and row, or of what is made here, its number."""
        return [
            row["prompt"].origin.where
            if isinstance(row["prompt"], Conversation)
            else f"{self.name}, row {number}"
            for number, row in enumerate(self.rows, 1)
        ]


def gather(
    config: Config,
    keys: tuple[str, ...],
    folder: Path,
    encode: Encode,
    read: Read = read_rows,
) -> tuple[list[Part], list[Part]]:
    """Training parts and validation parts, one per source; no prompt is in both.

    Args:
        config: whose `data` and `validation` are read.
        keys: the columns that a row must have.
        folder: relative file names start here.
        encode: makes of a row its token ids: a dict with `length`, the longest sequence's tokens.
        read: gives the rows of a source.

    Raises:
        HarnessError: bad data.
        NothingLeftError: nothing to train on or to validate with.
    """
    wanted = config.validation
    training, validation = [], []
    domains = {source.domain for source in config.data}  # those that are read or passed over

    def of_domain(source: Source) -> list[dict[str, Any]]:
        rows = read(source, keys, folder)
        domains.update(row.get("domain") for row in rows)
        return [row for row in rows if config.domain in (None, row.get("domain"))]

    for name, source in _named(_concerned(wanted.data, config.domain)):
        rows = of_domain(source)
        validation.append(_encoded(name, source, rows, config.max_length, encode, name))
    for name, source in _named(_concerned(config.data, config.domain)):
        rows = of_domain(source)
        held: list[dict[str, Any]] = []
        if not wanted.data:
            rows, held = split_rows(rows, wanted.share)
            validation.append(_encoded(name, source, held, config.max_length, encode))
        for part in validation:
            rows = without_prompts(rows, part.rows)
        told = name if config.domain is None else f"{name} ({config.domain})"
        training.append(_encoded(name, source, rows, config.max_length, encode, told))
    if config.domain is not None and config.domain not in domains:
        raise HarnessError(
            f"`domain` is {config.domain!r}, and no row is of it: the rows are of "
            f"{', '.join(sorted(filter(None, domains))) or 'no domain'}"
        )
    for name, parts in (("training", training), ("validation", validation)):
        if not any(part.rows for part in parts):
            raise NothingLeftError(f"no {name} rows are left: see `share`, `max_length` and `rows`")
    return training, [_first(part, wanted.rows, len(validation)) for part in validation]


def _concerned(sources: Sequence[Source], domain: str | None) -> list[Source]:
    """Those that may hold rows of the domain: a source that is of another one is not read."""
    return [one for one in sources if domain is None or one.domain in (None, domain)]


def _named(sources: Sequence[Source]) -> list[tuple[str, Source]]:
    """Each source with a name that no other has: figures are told by it."""
    from dogerm_plugin.anatomy.joined_heads import short_names

    names = []
    for source in sources:
        name = Path(source.file or source.hub or str(source.generator)).with_suffix("")
        names.append(f"{name}, {source.corrupt} exchanged" if source.corrupt else str(name))
    return list(zip(short_names(names) if names else [], sources, strict=True))


def _encoded(
    name: str,
    source: Source,
    rows: list[dict[str, Any]],
    longest: int,
    encode: Encode,
    told: str | None = None,
) -> Part:
    """Rows that are short enough, as many as are wanted; how many is said of `told`."""
    pairs = [(row, encode(row)) for row in rows]
    fitting = [(row, ids) for row, ids in pairs if ids["length"] <= longest]
    kept = choose_rows(source, [row for row, _ in fitting])
    by_row = {id(row): ids for row, ids in fitting}
    if told is not None:
        click.echo(
            f"{told}: {len(kept)} of {len(rows)} rows "
            f"({len(rows) - len(fitting)} longer than {longest} tokens)",
            err=True,
        )
    return Part(name, kept, [by_row[id(row)] for row in kept])


def _first(part: Part, limit: int | None, parts: int) -> Part:
    count = len(part.rows) if limit is None else max(1, limit // parts)
    return Part(part.name, part.rows[:count], part.ids[:count])


def by_length(parts: list[Part]) -> list[dict[str, Any]]:
    """The token ids of all parts, longest first: batches of like lengths need little padding."""
    return sorted((ids for part in parts for ids in part.ids), key=lambda ids: -ids["length"])
