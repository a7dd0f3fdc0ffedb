# SPDX-License-Identifier: Apache-2.0
"""The rows of all stages together, so that what a stage is judged by no stage has learned."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError, at
from harness.training.config import Config
from harness.training.gather import NothingLeftError, Part, gather
from harness.training.reward import gather_pairs
from harness.training.row_check import RowCheck
from harness.training.rows import ANSWERED
from harness.training.split import prompt_key, without_prompts
from harness.training.tokens import answer_ids
from harness.training.turns import parse_turns

GENERAL_PAIRS = "general pairs"
Rows = tuple[list[Part], list[Part]]


@dataclass
class StageRows:
    """Pairs with their token ids.

    Attributes:
        general: training and validation rows of the general reward model.
        domains: those of each customised one, general pairs among the training rows.
        held_out: what all stages are judged by: of each domain, and `GENERAL_PAIRS`.
    """

    general: Rows | None = None
    domains: dict[str, Rows] = field(default_factory=dict)
    held_out: dict[str, Part] = field(default_factory=dict)

    def mirrored(self) -> tuple[int, int]:
        """How many held-out pairs of domains another domain has the other way round; of how many.

        Such as DSP's: of a query each domain's answer stands against every other's.
        """
        pairs = [
            (str(row["prompt"]), str(row["chosen"]), str(row["rejected"]))
            for name, part in self.held_out.items()
            if name != GENERAL_PAIRS
            for row in part.rows
        ]
        known = set(pairs)
        return sum((prompt, b, a) in known for prompt, a, b in pairs), len(pairs)


def gather_stages(
    language_model: Config | None,
    general: Config | None,
    domains: dict[str, Config],
    customized: Sequence[str],
    share: float,
    tokenizer: Any,
    source: str,
    folder: Path,
) -> StageRows:
    """Read and divide the rows of all stages.

    No prompt that is held out in any domain, or of the general pairs, is in a domain's training
    rows. An earlier stage does not depend on a later one's rows: what it was trained on is left out
    of what is judged by.

    Args:
        language_model: of that stage, whose prompts are looked at.
        general: the config of the general stage.
        domains: of each domain, customised or only reported.
        customized: the domains that a reward model is trained for.
        share: of a customised model's training rows that are general pairs.
        tokenizer: of all models.
        source: whose it is, for errors.
        folder: relative file names start here.

    Raises:
        HarnessError: bad data, or nothing is left to judge by.
    """
    made = StageRows()
    learned: dict[str, set[str]] = {}
    if language_model is not None:
        learned["language model"] = _prompts(_answered(language_model, tokenizer, folder))
    if general is not None:
        made.general = gather_pairs(general, tokenizer, source, folder)
        made.held_out[GENERAL_PAIRS] = _kept(GENERAL_PAIRS, made.general[1], learned)
        learned["general reward model"] = _prompts(made.general[0])
    own = {}
    for name, one in domains.items():
        with at(f"domain {name}"):
            try:
                own[name] = gather_pairs(one, tokenizer, source, folder)
            except NothingLeftError as error:
                if name in customized:
                    raise
                click.echo(f"domain {name}: {error}; it is not reported", err=True)
    for name, (_, held) in own.items():
        made.held_out[name] = _kept(name, held, learned)
    # the reader's order: what it is about before what is to be kept
    made.held_out = {name: made.held_out[name] for name in (*own, *made.held_out)}
    taken = [row for part in made.held_out.values() for row in part.rows]
    pool: list[Part] = []
    if customized and share and general is not None:
        imitation = domains[customized[0]].imitation
        alike = general.model_copy(update={"imitation": imitation})
        pool = [_without(p, taken) for p in gather_pairs(alike, tokenizer, source, folder)[0]]
    for name in customized:
        training = [_without(part, taken) for part in own[name][0]]
        seed = domains[name].training.seed
        if pool:
            count = sum(len(part.rows) for part in training)
            wanted = round(count * share / (1 - share))
            training.append(_drawn(pool, wanted, f"{GENERAL_PAIRS} {name} {seed}"))
        if not any(part.rows for part in training):
            raise HarnessError(f"domain {name}: no rows are left to train on: see `share`")
        _same_columns([*training, made.held_out[name]])
        made.domains[name] = training, [made.held_out[name]]
    return made


def _answered(config: Config, tokenizer: Any, folder: Path) -> list[Part]:
    """The rows that a language model's stage is trained on.

    Their lengths count: which rows a source's `rows` draws depends on how many are short enough.
    """
    shown = RowCheck(tokenizer, ANSWERED[1:])

    def encode(row: dict[str, Any]) -> dict[str, Any]:
        ids, _ = answer_ids(tokenizer, parse_turns(row["prompt"]), row["response"])
        return {"length": len(ids)}

    return gather(config, ANSWERED, folder, lambda row: shown.encode(row, encode))[0]


def _prompts(parts: Iterable[Part]) -> set[str]:
    return {prompt_key(row["prompt"]) for part in parts for row in part.rows}


def _kept(name: str, parts: Sequence[Part], learned: dict[str, set[str]]) -> Part:
    """Held-out rows as one part, without the prompts that a stage before was trained on."""
    rows = [one for part in parts for one in zip(part.rows, part.ids, strict=True)]
    for stage, prompts in learned.items():
        fresh = [one for one in rows if prompt_key(one[0]["prompt"]) not in prompts]
        if len(fresh) < len(rows):
            click.echo(
                f"{name}: {len(rows) - len(fresh)} of {len(rows)} held-out pairs have prompts "
                f"that the {stage} is trained on: left out",
                err=True,
            )
        if not fresh:
            raise HarnessError(
                f"{name}: the {stage} is trained on the prompts of all {len(rows)} held-out "
                "pairs: give both the same `validation: {share: ...}`, or other rows"
            )
        rows = fresh
    return Part(name, [row for row, _ in rows], [ids for _, ids in rows])


def _without(part: Part, others: Sequence[dict[str, Any]]) -> Part:
    kept = {id(row) for row in without_prompts(part.rows, others)}
    both = [one for one in zip(part.rows, part.ids, strict=True) if id(one[0]) in kept]
    return Part(part.name, [row for row, _ in both], [ids for _, ids in both])


def _drawn(parts: Sequence[Part], count: int, seed: str) -> Part:
    """So many pairs at random."""
    rows = [one for part in parts for one in zip(part.rows, part.ids, strict=True)]
    if len(rows) < count:
        click.echo(f"{GENERAL_PAIRS}: {len(rows)} where {count} are asked for", err=True)
    kept = sorted(random.Random(seed).sample(range(len(rows)), min(count, len(rows))))
    return Part(GENERAL_PAIRS, [rows[i][0] for i in kept], [dict(rows[i][1]) for i in kept])


def _same_columns(parts: Sequence[Part]) -> None:
    """Give all rows a margin if one has it: a batch may have rows of several sources."""
    rows = [ids for part in parts for ids in part.ids]
    if any("margin" in ids for ids in rows):
        for ids in rows:
            ids.setdefault("margin", 0.0)
