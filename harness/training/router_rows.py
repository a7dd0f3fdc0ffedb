# SPDX-License-Identifier: Apache-2.0
"""The prompts that a router learns from, and the pairs that its experts are calibrated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError
from harness.rows.conversation import Turns
from harness.training.config import Config, Source
from harness.training.rows import ANSWERED, PAIR, choose_rows, has_pairs, read_rows
from harness.training.split import prompt_key, split_rows, without_prompts
from harness.training.turns import parse_turns

Row = dict[str, Any]


class NothingToTellError(HarnessError):
    """The prompts say nothing of their domains."""


@dataclass(frozen=True)
class RouterRows:
    """Rows of ``prompt`` and ``domain``, those of pairs with ``chosen`` and ``rejected``.

    Attributes:
        training: no prompt twice.
        held_out: of the same sources, other prompts; empty where validation has data of its own.
        unseen: by source, of sets that nothing was fitted on.
    """

    training: list[Row]
    held_out: list[Row]
    unseen: dict[str, list[Row]]

    @property
    def domains(self) -> tuple[str, ...]:
        """In the order of their first row."""
        return tuple(dict.fromkeys(row["domain"] for row in self.training))

    @property
    def pairs(self) -> list[Row]:
        """Held-out rows with two answers."""
        rows = [*self.held_out, *(row for part in self.unseen.values() for row in part)]
        return [row for row in rows if "rejected" in row]


def gather_prompts(config: Config, folder: Path) -> RouterRows:
    """The rows of a config, divided by prompt.

    A prompt of two domains belongs to neither, as nothing in it tells them apart; how many there
    are is told. All rows count for that, also those that `rows` leaves out: by chance a choice
    has many prompts in one domain alone.

    Raises:
        HarnessError: a row without a domain, or too few rows or domains.
    """
    read = [(source, _read(source, folder)) for source in config.data]
    several = _of_several_domains([row for _, rows in read for row in rows])
    rows = _distinct(
        [
            row
            for source, all_rows in read
            for row in choose_rows(
                source, [one for one in all_rows if prompt_key(one["prompt"]) not in several]
            )
        ]
    )
    if several and not rows:
        raise NothingToTellError(
            "every prompt stands in several domains, so no router can tell from a prompt whose it "
            "is; with the domain in a column, route by that: router=oracle,domain=COLUMN"
        )
    wanted = config.validation
    unseen: dict[str, list[Row]] = {}
    held_out: list[Row] = []
    if wanted.data:
        for source in wanted.data:
            name = Path(str(source.file or source.hub or source.generator)).stem
            unseen.setdefault(name, []).extend(_distinct(_rows(source, folder))[: wanted.rows])
        for part in unseen.values():
            rows = without_prompts(rows, part)
    else:
        rows, held_out = split_rows(rows, wanted.share)
        held_out = _spread(held_out, wanted.rows)
    made = RouterRows(rows, held_out, unseen)
    counts = {name: sum(row["domain"] == name for row in rows) for name in made.domains}
    if len(counts) < 2:
        raise HarnessError(
            f"a router chooses between domains, and the rows are of {len(counts)} "
            f"({', '.join(counts) or 'none'}): give each entry of `data` a `domain`, or the column "
            "that says it as `columns: {domain: ...}`"
        )
    few = next((name for name, count in counts.items() if count < 5), None)
    if few is not None:
        raise HarnessError(f"domain {few} has {counts[few]} prompts to learn from; 5 are the least")
    if not made.held_out and not any(unseen.values()):
        raise HarnessError("no validation rows are left: see `share` and `rows`")
    for name, count in counts.items():
        click.echo(f"{name}: {count} prompts", err=True)
    return made


def domains_of(config: Config, folder: Path) -> tuple[str, ...]:
    """The domains of a config's rows, in the order of their first row.

    Raises:
        HarnessError: a row without one.
    """
    rows = (row for source in config.data for row in _rows(source, folder))
    return tuple(dict.fromkeys(row["domain"] for row in rows))


def held_out_pairs(config: Config, folder: Path) -> list[Row]:
    """Pairs that nothing was trained on, of all domains.

    Raises:
        HarnessError: a row without a domain.
    """
    wanted = config.validation
    if wanted.data:
        rows = [row for source in wanted.data for row in _rows(source, folder)]
    else:
        rows = [row for source in config.data for row in _rows(source, folder)]
        rows = split_rows(rows, wanted.share)[1]
    return [row for row in rows if "rejected" in row]


def prompt_turns(row: Mapping[str, Any]) -> Turns:
    """The turns of a row's prompt."""
    turns = parse_turns(row["prompt"])
    return turns if isinstance(turns, Turns) else Turns(turns)


def _rows(source: Source, folder: Path) -> list[Row]:
    """A source's rows that are chosen, each with a domain; pairs where it has two answers."""
    return choose_rows(source, _read(source, folder))


def _read(source: Source, folder: Path) -> list[Row]:
    keys = PAIR if has_pairs(source, folder) else ANSWERED
    rows = read_rows(source, keys, folder)
    if rows and "domain" not in rows[0]:
        name = source.file or source.hub or source.generator
        raise HarnessError(
            f"{name}: its rows say no domain: give the entry a `domain: NAME`, or the column that "
            "says it as `columns: {domain: ...}`"
        )
    return rows


def _of_several_domains(rows: Sequence[Row]) -> set[str]:
    """The keys of prompts that stand in more domains than one."""
    domains: dict[str, set[str]] = {}
    for row in rows:
        domains.setdefault(prompt_key(row["prompt"]), set()).add(row["domain"])
    several = {key for key, names in domains.items() if len(names) > 1}
    if several:
        click.echo(
            f"{len(several)} of {len(domains)} prompts stand in several domains, and nothing in a "
            "prompt tells which it is of: left out",
            err=True,
        )
    return several


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows with each prompt once, the first that has it."""
    return list({prompt_key(row["prompt"]): row for row in reversed(rows)}.values())[::-1]


def _spread(rows: list[Row], count: int | None) -> list[Row]:
    """So many rows, evenly taken from all of them."""
    if count is None or len(rows) <= count:
        return rows
    return [rows[place * len(rows) // count] for place in range(count)]
