"""Short sums and word problems with worked answers, for a language model that learns to reckon.

Every answer is computed from the problem's numbers. The rejected half of a preference pair has one
wrong result in its working, from which the later steps follow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from harness.training.generated import expressions, measures, stories
from harness.training.generated.problem import Problem, draw_slip

_KINDS: tuple[Callable[[random.Random], Problem], ...] = (
    expressions.one_operation,
    expressions.one_operation,
    expressions.one_operation,
    expressions.two_operations,
    expressions.two_operations,
    stories.gain_or_loss,
    stories.gain_and_loss,
    stories.groups,
    stories.sharing,
    stories.money,
    stories.difference,
    measures.rectangle,
    measures.square,
    measures.journey,
    measures.percentage,
    measures.average,
    measures.units,
    measures.remainder,
    measures.sequence,
    measures.multiple,
)


def problems(seed: int) -> Iterator[Problem]:
    """An endless, seeded stream of problems of all kinds."""
    rng = random.Random(f"sums {seed}")
    while True:
        yield rng.choice(_KINDS)(rng)


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """`count` rows of `prompt` and `response`, no prompt twice."""
    return [{"prompt": p.prompt, "response": p.answer()} for p in _distinct(count, seed)]


def pairs(count: int, seed: int) -> list[dict[str, str]]:
    """`count` rows of `prompt`, `chosen` and `rejected`, no prompt twice.

    The rejected answer has one slip. Its sign is drawn evenly, so the lengths of the two answers
    differ seldom.
    """
    rng = random.Random(f"slips {seed}")
    made = []
    for problem in _distinct(count, seed):
        wrong = problem.answer(draw_slip(problem, rng))
        made.append({"prompt": problem.prompt, "chosen": problem.answer(), "rejected": wrong})
    return made


def _distinct(count: int, seed: int) -> Iterator[Problem]:
    seen: set[str] = set()
    for problem in problems(seed):
        if len(seen) == count:
            return
        if problem.prompt not in seen:
            seen.add(problem.prompt)
            yield problem
