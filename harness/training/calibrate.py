# SPDX-License-Identifier: Apache-2.0
"""On what scale each expert's rewards are: mean and standard deviation on the same pairs.

Experts that were trained apart have rewards of unlike scales. All of them score the same held-out
conversations, of all domains alike, so that a reward in standard deviations says the same by each.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError
from harness.models.routing.experts import of_folder
from harness.models.routing.router_file import Scale
from harness.rows.conversation import Conversation, plain_text
from harness.training.router_rows import prompt_turns

Row = dict[str, Any]


def calibrate(
    experts: Mapping[str, str],
    rows: Sequence[Row],
    count: int,
    kept: Path,
    base: str | None = None,
) -> dict[str, Scale]:
    """Each expert's scale.

    Args:
        experts: folder or Hub id by name.
        rows: pairs that no expert's router was fitted on, each with its domain.
        count: how many of them are scored, as many of each domain as there are.
        kept: a folder where finished scales are kept for a run that is killed.
        base: of which the experts are adapters; None where each is a model.

    Raises:
        HarnessError: no pairs, an expert that is no reward model, or one reward for all.
    """
    pairs = _balanced(rows, count)
    if len(pairs) < 2:
        raise HarnessError(
            f"`experts` are calibrated on held-out pairs, and {len(pairs)} rows have two answers: "
            "give `data` pairs (chosen and rejected), or leave `experts` out"
        )
    kept.mkdir(parents=True, exist_ok=True)
    scales = {}
    for name, place in experts.items():
        files = of_folder(place) if Path(place).is_dir() else ""
        file = kept / f"scale-{name}-{files}.json"
        if not (files and file.is_file()):
            click.echo(f"calibrating {name} on {len(pairs)} pairs", err=True)
            scale = _scale(name, place, pairs, base)
            content = scale.model_copy(update={"files": files}).model_dump()
            partial = file.with_suffix(".partial")
            partial.write_text(json.dumps(content), encoding="utf-8")
            partial.rename(file)
        scales[name] = Scale.model_validate_json(file.read_text("utf-8"))
    return scales


def _scale(name: str, place: str, pairs: Sequence[Row], base: str | None) -> Scale:
    from lm_eval.api.instance import Instance

    from harness.models.load.device import fast_dtype
    from harness.models.reward import Reward

    try:
        adapter: dict[str, Any] = {"peft": place} if base is not None else {}
        model = Reward(base or place, dtype=fast_dtype(), batch_size=8, **adapter)
    except HarnessError as error:
        raise HarnessError(f"the expert {name}: {error}") from error
    asked = []
    for number, row in enumerate(pairs):
        turns = prompt_turns(row)
        context = Conversation(plain_text(turns, turns.beside), turns, turns.beside)
        for side, key in enumerate(("chosen", "rejected")):
            asked.append(
                Instance("loglikelihood", {}, (context, row[key]), side, ("scale", number, 1))
            )
    rewards = [answer[0] for answer in model.loglikelihood(asked)]
    deviation = statistics.pstdev(rewards)
    if deviation == 0:
        raise HarnessError(
            f"the expert {name}: {place} gives all {len(rewards)} calibration rows the reward "
            f"{rewards[0]:g}, so it tells nothing apart"
        )
    return Scale(mean=statistics.fmean(rewards), std=deviation)


def _balanced(rows: Sequence[Row], count: int) -> list[Row]:
    """At most so many rows, as many of each domain as there are, the first of each."""
    by_domain: dict[str, list[Row]] = {}
    for row in rows:
        by_domain.setdefault(row["domain"], []).append(row)
    each = min([count // max(1, len(by_domain)), *map(len, by_domain.values())])
    return [row for part in by_domain.values() for row in part[: max(1, each)]]
