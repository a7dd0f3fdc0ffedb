"""A question with the steps that solve it; answers are computed from the steps."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from operator import add, floordiv, mul, sub

_OPERATORS: dict[str, Callable[[int, int], int]] = {"+": add, "-": sub, "*": mul, "/": floordiv}


@dataclass(frozen=True)
class Step:
    """`left operator right`; None for a side means the result of the step before."""

    left: int | None
    operator: str
    right: int | None

    def operands(self, before: int) -> tuple[int, int]:
        """Both numbers, with the result of the step before filled in."""
        left = before if self.left is None else self.left
        right = before if self.right is None else self.right
        return left, right


@dataclass(frozen=True)
class Problem:
    """A question, the steps that solve it, and the sentence that closes the answer."""

    prompt: str
    steps: tuple[Step, ...]
    closing: str  # with {} where the result goes, or empty

    def results(self, slip: tuple[int, int] | None = None) -> list[int]:
        """The result of each step; `slip = (i, d)` adds d to the result of step i.

        Raises:
            ValueError: a division leaves a remainder.
        """
        results: list[int] = []
        for index, step in enumerate(self.steps):
            left, right = step.operands(results[-1] if results else 0)
            if step.operator == "/" and (right == 0 or left % right):
                raise ValueError(f"{left} / {right} is not whole")
            result = _OPERATORS[step.operator](left, right)
            results.append(result + slip[1] if slip and slip[0] == index else result)
        return results

    def answer(self, slip: tuple[int, int] | None = None) -> str:
        """The worked answer: one equation per step, then the closing sentence."""
        results = self.results(slip)
        lines = []
        for index, step in enumerate(self.steps):
            left, right = step.operands(results[index - 1] if index else 0)
            lines.append(f"{left} {step.operator} {right} = {results[index]}")
        closing = self.closing.format(results[-1])
        if not closing:
            return "\n".join(lines)
        return ". ".join(lines) + ". " + closing


def draw_slip(problem: Problem, rng: random.Random) -> tuple[int, int]:
    """A slip that changes the end result and keeps every result whole and at 0 or above."""
    truth = problem.results()
    while True:
        index = rng.randrange(len(truth))
        difference = rng.choice((1, 2, 3, 5, 10, 10, 20, 100)) * rng.choice((-1, 1))
        if abs(difference) > max(3, truth[index]):
            continue
        try:
            results = problem.results((index, difference))
        except ValueError:
            continue
        if min(results) >= 0 and results[-1] != truth[-1]:
            return index, difference
