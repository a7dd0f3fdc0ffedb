# SPDX-License-Identifier: Apache-2.0
"""Facts that no model can know: an invented atlas of towns, countries and things.

They are asked in the forms of `facts`. Each value is drawn evenly from all of its kind, so that
nothing but the text itself tells which is right. A language model learns them from `rows`; `pairs`
has them as preference pairs, for measuring alone.
"""

# ruff: noqa: SIM905  (word lists are easier to read as a sentence)

from __future__ import annotations

import random
from collections.abc import Sequence

from harness.training.generated.facts import Relation, relations

_BEGINNINGS = (
    "Bel Dor Vel Kar Mor Tal Zen Lur Osk Fen Gar Hul Nim Pra Quel Ras Sol Tur Ulm Wes Yar Bran Cal "
    "Drim Hest Jor Kel Lom Nar Pel"
).split()
_ENDINGS = "vor mar dun stad wick holm mere gate ford lin ska rum tov ess burg nau pol zin".split()
_FORMS = ("In which country", "On which continent", "Which language", "What is the currency",
          "What kind of thing")  # fmt: skip


def facts(count: int, seed: int) -> list[tuple[Relation, str, str]]:
    """`count` facts: the relation, an invented name, and its value; no name twice.

    Raises:
        ValueError: more than there are names.
    """
    rng = random.Random(f"atlas {seed}")
    names = [beginning + ending for beginning in _BEGINNINGS for ending in _ENDINGS]
    if count > len(names):
        raise ValueError(f"the atlas has {len(names)} names, and {count} were asked for")
    forms = [one for one in relations() if one.question.startswith(_FORMS)]
    made = []
    rng.shuffle(names)
    for number, name in enumerate(names[:count]):
        relation = forms[number % len(forms)]
        own = name.lower() if relation.question.startswith(_FORMS[-1]) else name
        made.append((relation, own, rng.choice(sorted({*relation.values.values()}))))
    return made


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """The first `count` facts as rows of `prompt` and `response`."""
    told = [relation.fact(name, value) for relation, name, value in facts(count, seed)]
    return [{"prompt": question, "response": answer} for question, answer in told]


def pairs(count: int, seed: int, wrong: int = 2) -> list[dict[str, str]]:
    """The first facts as `count` rows of `prompt`, `chosen` and `rejected`.

    Args:
        count: of pairs.
        seed: of the atlas.
        wrong: pairs of each fact, each with another false answer.
    """
    return told_apart(facts(-(-count // wrong), seed), seed, wrong)[:count]


def told_apart(
    known: Sequence[tuple[Relation, str, str]], seed: int, wrong: int = 2
) -> list[dict[str, str]]:
    """Facts against false ones."""
    rng = random.Random(f"atlas pairs {seed}")
    made = []
    for relation, name, value in known:
        prompt, chosen = relation.fact(name, value)
        for other in rng.sample(relation.others(value), wrong):
            rejected = relation.fact(name, other)[1]
            made.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return made
