# SPDX-License-Identifier: Apache-2.0
"""On what scale each expert's rewards are: mean and standard deviation on the same pairs.

Experts that were trained apart have rewards of unlike scales. All of them score the same held-out
conversations, of all domains alike, so that a reward in standard deviations says the same by each.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogerm_plugin.files.atomic import write_text
from dogerm_plugin.recipe.router import ExpertRecipe
from harness.errors import HarnessError, at
from harness.models.routing.experts import of_expert, of_folder
from harness.models.routing.scale import Scale
from harness.models.score.requests import key_of
from harness.rows.conversation import Conversation, plain_text
from harness.runs.identity import digest
from harness.training.router_rows import prompt_turns

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from harness.models.reward import Reward

Row = dict[str, Any]


def calibrate(
    experts: Mapping[str, str],
    rows: Sequence[Row],
    count: int,
    kept: Path,
    base: str | None = None,
    recipes: Mapping[str, ExpertRecipe] | None = None,
) -> dict[str, Scale]:
    """Each expert's scale.

    Args:
        experts: folder or Hub id by name.
        rows: pairs that no expert's router was fitted on, each with its domain.
        count: how many of them are scored, as many of each domain as there are.
        kept: a folder where finished scales are kept for a run that is killed.
        base: of which the experts are adapters; None where each is a model.
        recipes: the experts that are made by merging: in memory, like those of a routed model.

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
    recipes = recipes or {}
    asked = _asked(pairs)
    files = {name: of_expert(name, recipes, place) for name, place in experts.items()}
    based = of_folder(base)
    rewarded = [based, [key_of(one.args) for one in asked]]
    file = {n: kept / f"scale-{n}-{digest([files[n], *rewarded])}.json" for n in experts}
    waiting = {n: place for n, place in experts.items() if not (files[n] and file[n].is_file())}
    merged = {name: recipe for name, recipe in recipes.items() if name in waiting}
    for name, model in _loaded(waiting, base, merged):
        click.echo(f"calibrating {name} on {len(pairs)} pairs", err=True)
        of = {"files": files[name], "base": based}
        scale = _scale(name, experts[name], model, asked).model_copy(update=of)
        write_text(file[name], json.dumps(scale.model_dump()))
    return {name: Scale.model_validate_json(one.read_text("utf-8")) for name, one in file.items()}


def _loaded(
    places: Mapping[str, str], base: str | None, recipes: Mapping[str, ExpertRecipe]
) -> Iterator[tuple[str, Reward]]:
    """Each expert's model, one in memory at a time."""
    from harness.models.load.device import fast_dtype
    from harness.models.reward import Reward
    from harness.models.routing.merged import slots_of
    from harness.models.routing.pool import Pool

    if not places:
        return
    given: dict[str, Any] = {"dtype": fast_dtype(), "batch_size": 8}

    if base is not None:
        for name, place in places.items():
            with at(f"the expert {name}"):
                model = Reward(base, peft=place, **given)
            yield name, model
        return
    pool = Pool(slots_of(places, recipes, given), 1)
    for name in pool.in_order():
        yield name, pool.get(name)


def _asked(pairs: Sequence[Row]) -> list[Instance]:
    """Both answers of each pair, as lm-eval asks for them."""
    from lm_eval.api.instance import Instance

    asked = []
    for number, row in enumerate(pairs):
        turns = prompt_turns(row)
        context = Conversation(plain_text(turns, turns.beside), turns, turns.beside)
        for side, key in enumerate(("chosen", "rejected")):
            asked.append(
                Instance("loglikelihood", {}, (context, row[key]), side, ("scale", number, 1))
            )
    return asked


def _scale(name: str, place: str, model: Reward, asked: list[Instance]) -> Scale:
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
