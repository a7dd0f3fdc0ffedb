"""Bare sums: one operation, or two."""

from __future__ import annotations

import random

from harness.training.generated.problem import Problem, Step


def draw_numbers(operator: str, rng: random.Random) -> tuple[int, int]:
    """Two numbers for one step; a division leaves no remainder, a difference is not negative."""
    if operator == "*":
        return rng.randint(2, rng.choice((12, 99))), rng.randint(2, 12)
    if operator == "/":
        right = rng.randint(2, 12)
        return right * rng.randint(2, rng.choice((12, 40))), right
    size = rng.choice((20, 100, 100, 1000))
    left, right = rng.randint(1, size), rng.randint(1, size)
    return (max(left, right), min(left, right)) if operator == "-" else (left, right)


def one_operation(rng: random.Random) -> Problem:
    operator = rng.choice("+-*/")
    left, right = draw_numbers(operator, rng)
    word = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}[operator]
    prompt = rng.choice(
        (
            f"What is {left} {operator} {right}?",
            f"Calculate {left} {operator} {right}.",
            f"What is {left} {word} {right}?",
            f"{left} {operator} {right} = ?",
            f"Work out {left} {word} {right}.",
            f"Compute {left} {operator} {right}.",
        )
    )
    closing = rng.choice(("", "", "The answer is {}.", "So the answer is {}."))
    return Problem(prompt, (Step(left, operator, right),), closing)


def two_operations(rng: random.Random) -> Problem:
    """Two operations, taken from left to right or with the product first."""
    a, b, c = rng.randint(2, 99), rng.randint(2, 12), rng.randint(2, 99)
    closing = rng.choice(("The answer is {}.", "So the answer is {}.", ""))
    ask = rng.choice(("What is {}?", "Calculate {}.", "Work out {}.", "Compute {}."))
    kind = rng.randrange(4)
    if kind == 0:
        steps = (Step(a, "*", b), Step(None, "+", c))
        return Problem(ask.format(f"{a} * {b} + {c}"), steps, closing)
    if kind == 1:
        steps = (Step(b, "*", a), Step(c, "+", None))
        return Problem(ask.format(f"{c} + {b} * {a}"), steps, closing)
    if kind == 2:
        c = rng.randint(1, a + b)
        steps = (Step(a, "+", b), Step(None, "-", c))
        return Problem(ask.format(f"{a} + {b} - {c}"), steps, closing)
    steps = (Step(a, "+", c), Step(None, "*", b))
    return Problem(ask.format(f"({a} + {c}) * {b}"), steps, closing)
