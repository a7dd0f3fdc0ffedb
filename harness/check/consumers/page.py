# SPDX-License-Identifier: Apache-2.0
"""Who takes a reward model, in lines: the answer, the reason, and the command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from harness.check.consumers.consumer import Consumer, State, ask
from harness.check.consumers.declared import CONSUMERS
from harness.check.consumers.stored import StoredReward, read_reward
from harness.runs.quiet import quiet

_COLOURS = {State.YES: "green", State.NO: "red"}
_ARROW = "    -> "


def lines(folder: Path) -> list[str]:
    """All that is said of a model's folder.

    Raises:
        HarnessError, MergeError: it is no reward model, or can't be read.
    """
    with quiet():
        model = read_reward(folder)
        said = [f"{folder}: {described(model)}"]
        for consumer in CONSUMERS:
            said += _answer(consumer, model, folder)
    return said


def described(model: StoredReward) -> str:
    """The model in a line: class and head."""
    head = " and ".join(
        f"{name} {list(model.anatomy.stored[name].shape)}" for name in model.anatomy.reward_head
    )
    return f"{', '.join(model.raw.get('architectures') or ['no class'])}, head {head}"


def _answer(consumer: Consumer, model: StoredReward, folder: Path) -> Iterator[str]:
    answer = ask(consumer, model)
    state = click.style(str(answer.state), fg=_COLOURS.get(answer.state, "yellow"), bold=True)
    why = f": {answer.why}" if answer.why else ""
    yield f"{consumer.title}: {state}{why}"
    if answer.state is State.NO:
        return
    place = shlex.quote(str(folder))
    if any(lack.mend is not None for lack in answer.lacks):
        place = shlex.quote(f"{str(folder).rstrip('/')}-{consumer.name}")
        source = shlex.quote(str(folder))
        yield f"{_ARROW}dogerm export --for {consumer.name} {source} -o {place}"
    yield f"{_ARROW}{consumer.command.format(model=place)}"
    yield f"    reward: {consumer.reward}"
