# SPDX-License-Identifier: Apache-2.0
"""Whether a consumer takes a model as it lies there, with another layout, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.check.consumers.need import Kind, Lack, Need
from harness.check.consumers.stored import StoredReward


class State(StrEnum):
    """The answer in a word."""

    YES = "yes"
    CARE = "yes, with care"
    EXPORT = "with dogerm export"
    UNKNOWN = "not checked"
    NO = "no"


@dataclass(frozen=True)
class Consumer:
    """A program that takes reward models.

    Attributes:
        name: as in ``dogerm export --for NAME``.
        title: its name and the version whose source was read.
        source: the files of that version that say what it reads.
        needs: what it needs of a model; `one_reward` comes first, the head's name before its bias.
        command: what loads or serves a model; ``{model}`` is its folder.
        reward: where the reward then stands.
        takes_scale: whether it reads `mean` and `std` of config.json.
    """

    name: str
    title: str
    source: str
    needs: tuple[Need, ...]
    command: str
    reward: str
    takes_scale: bool = False


@dataclass(frozen=True)
class Answer:
    """What a consumer makes of a model."""

    state: State
    lacks: tuple[Lack, ...]

    @property
    def why(self) -> str:
        """The reasons, those that weigh most first; empty where nothing is lacking."""
        order = list(Kind)
        return "; ".join(one.why for one in sorted(self.lacks, key=lambda o: order.index(o.kind)))


_STATES = {
    Kind.FATAL: State.NO,
    Kind.UNKNOWN: State.UNKNOWN,
    Kind.MENDED: State.EXPORT,
    Kind.CARE: State.CARE,
}


def ask(consumer: Consumer, model: StoredReward) -> Answer:
    """Hold a model against what a consumer needs; the first fatal lack ends it."""
    lacks: list[Lack] = []
    for need in consumer.needs:
        lack = need(model)
        if lack is not None:
            if lack.kind is Kind.FATAL:
                return Answer(State.NO, (lack,))
            lacks.append(lack)
    kinds = {lack.kind for lack in lacks}
    state = next((state for kind, state in _STATES.items() if kind in kinds), State.YES)
    return Answer(state, tuple(lacks))
