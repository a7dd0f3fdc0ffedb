# SPDX-License-Identifier: Apache-2.0
"""Facts that no model can know, about things whose names are invented.

Each value is drawn evenly from all of its kind, so that nothing but the text itself tells which is
right. A language model learns the facts from `Invented.rows`; `Invented.pairs` has them as
preference pairs, for measuring.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.training.generated.facts import Relation

Fact = tuple[Relation, str, str]


@dataclass(frozen=True)
class Invented:
    """A subject of which everything is made up.

    Attributes:
        subject: says what it is, and seeds what is drawn.
        names: of its things, none twice.
        relations: what is asked about them, in turn.
    """

    subject: str
    names: tuple[str, ...]
    relations: tuple[Relation, ...]

    def facts(self, count: int, seed: int) -> list[Fact]:
        """`count` facts: the relation, an invented name, and its value; no name twice.

        Raises:
            ValueError: more than there are names.
        """
        if count > len(self.names):
            raise ValueError(
                f"the {self.subject} has {len(self.names)} names, and {count} were asked for"
            )
        rng = random.Random(f"{self.subject} {seed}")
        names = list(self.names)
        rng.shuffle(names)
        made = []
        for number, name in enumerate(names[:count]):
            relation = self.relations[number % len(self.relations)]
            own = name.lower() if relation.sentence.startswith("{thing} is a kind") else name
            made.append((relation, own, rng.choice(sorted({*relation.values.values()}))))
        return made

    def rows(self, count: int, seed: int) -> list[dict[str, str]]:
        """The first `count` facts as rows of `prompt` and `response`."""
        told = [relation.fact(name, value) for relation, name, value in self.facts(count, seed)]
        return [{"prompt": question, "response": answer} for question, answer in told]

    def pairs(self, count: int, seed: int, wrong: int = 2) -> list[dict[str, str]]:
        """The first facts as `count` rows of `prompt`, `chosen` and `rejected`.

        Args:
            count: of pairs.
            seed: of the facts.
            wrong: pairs of each fact, each with another false answer.
        """
        return self.told_apart(self.facts(-(-count // wrong), seed), seed, wrong)[:count]

    def told_apart(self, known: Sequence[Fact], seed: int, wrong: int = 2) -> list[dict[str, str]]:
        """Facts against false ones."""
        rng = random.Random(f"{self.subject} pairs {seed}")
        made = []
        for relation, name, value in known:
            prompt, chosen = relation.fact(name, value)
            for other in rng.sample(relation.others(value), wrong):
                rejected = relation.fact(name, other)[1]
                made.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
        return made


def names(beginnings: str, endings: str) -> tuple[str, ...]:
    """Every beginning with every ending, both given as words."""
    return tuple(one + other for one in beginnings.split() for other in endings.split())


def relation(question: str, sentence: str, values: str) -> Relation:
    """A question about things of which each has one of these values, divided by commas."""
    known = [value.strip() for value in values.split(",")]
    return Relation(question, sentence, {value: value for value in known}, {})
