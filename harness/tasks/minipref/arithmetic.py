# SPDX-License-Identifier: Apache-2.0
"""Maths pairs: the same short worked answer twice, once right and once with one wrong step.

A `Kind` is a table entry: how to draw numbers, what to ask, which steps lead to the answer.
Every step is an expression over earlier values, and the equation that a reader sees is made from
that expression, so what is printed is what was computed. The wrong answer changes one thing, a
step's result (`miscalculation`) or its rule (`wrong-step`), and carries it through to the end.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

ENDINGS = ("Answer: {}", "The answer is {}.", "So the answer is {}.")
SYMBOLS: tuple[dict[str, str], ...] = ({}, {"*": "×", "/": "÷"})
GLUE = (" ", "\n")
TRIES = 2000
DECIMAL = re.compile(r"\d\.\d")


@dataclass(frozen=True)
class Kind:
    """One kind of maths question: what to draw, what to ask, which steps lead to the answer.

    `steps` are (name, expression, sentence); in a sentence `{}` is the equation and `{v}` the
    value alone. `slips` replace expressions by name; an empty one leaves that step out.
    `given` are values derived from the drawn ones, `where` is what a draw must satisfy.
    """

    name: str
    prompts: tuple[str, str]
    draw: Mapping[str, Sequence[int | str]]
    steps: tuple[tuple[str, str, str], ...]
    slips: tuple[Mapping[str, str], ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    where: str = "True"
    fractions: bool = False


@dataclass(frozen=True)
class Pair:
    """A generated pair; `larger` tells whether the wrong final number is the larger one."""

    prompt: str
    chosen: str
    rejected: str
    label: str
    larger: bool = False


class _NotNice(ValueError):
    """These numbers do not make a presentable question: draw again."""


def show(value: Fraction, fractions: bool = False) -> str:
    """The value as a person would write it; refuses more than two decimals and values <= 0."""
    if value <= 0 or value > 99_999:
        raise _NotNice
    if value.denominator == 1:
        return str(value.numerator)
    if fractions:
        return f"{value.numerator}/{value.denominator}"
    if (value * 100).denominator != 1:
        raise _NotNice
    return f"{float(value):.2f}".rstrip("0")


def _evaluate(expression: str, names: Mapping[str, Fraction | str]) -> Fraction:
    """The value of one of our own table's expressions, exact: every literal is a Fraction."""
    exact = re.sub(r"(?<![\w*])(\d+)", r"F(\1)", expression)
    value = eval(exact, {"__builtins__": {}, "F": Fraction}, {**names})
    return Fraction(value)


def _equation(expression: str, names: Mapping[str, Fraction | str], symbols: dict[str, str]) -> str:
    def number(match: re.Match[str]) -> str:
        value = names[match[0]]
        return value if isinstance(value, str) else show(value)

    text = re.sub(r"[a-z_]\w*", number, expression).replace(" ** ", "^")
    return "".join(symbols.get(character, character) for character in text)


@dataclass(frozen=True)
class _Solver:
    """Writes worked answers to one drawn question, right or wrong, in one fixed style."""

    kind: Kind
    names: Mapping[str, Fraction | str]
    symbols: dict[str, str]
    glue: str
    ending: str

    def solve(
        self, slip: Mapping[str, str] | None = None, off: tuple[str, int] = ("", 0)
    ) -> tuple[str, Fraction]:
        """The text and its final value, under other rules (`slip`) or with one result `off`."""
        names, sentences, value = dict(self.names), [], Fraction(0)
        for name, expression, sentence in self.kind.steps:
            expression = (slip or {}).get(name, expression)
            if not expression:
                continue
            value = _evaluate(expression, names) + (off[1] if name == off[0] else 0)
            shown = show(value, self.kind.fractions)
            left = _equation(expression, names, self.symbols)
            names[name] = value
            words = {key: x if isinstance(x, str) else show(x, True) for key, x in names.items()}
            sentences.append(sentence.format(f"{left} = {shown}", v=shown, **words))
        sentences.append(self.ending.format(show(value, self.kind.fractions)))
        return self.glue.join(sentences), value


def _draw(kind: Kind, rng: Random) -> dict[str, Fraction | str]:
    names: dict[str, Fraction | str] = {}
    for key, choices in kind.draw.items():
        choice = rng.choice(choices)
        names[key] = choice if isinstance(choice, str) else Fraction(choice)
    for key, expression in kind.given:
        names[key] = _evaluate(expression, names)
    if not eval(kind.where, {"__builtins__": {}}, {**names}):
        raise _NotNice
    return names


def make(kind: Kind, form: int, rng: Random) -> Pair:
    """One pair of this kind with its `form`-th wording; raises RuntimeError if none is found."""
    for _ in range(TRIES):
        try:
            names = _draw(kind, rng)
            solver = _Solver(
                kind, names, rng.choice(SYMBOLS), rng.choice(GLUE), rng.choice(ENDINGS)
            )
            chosen, truth = solver.solve()
            if kind.slips and rng.random() < 0.6:
                flaw, (rejected, wrong) = "wrong-step", solver.solve(rng.choice(kind.slips))
            else:
                step = rng.choice([name for name, _, text in kind.steps if "{}" in text])
                size = rng.choice((1, 2, 10) if truth < 100 else (1, 10, 10, 20, 100))
                off = (step, rng.choice((size, -size)))
                flaw, (rejected, wrong) = "miscalculation", solver.solve(off=off)
                if abs(off[1]) * 3 > truth and not kind.fractions:
                    continue
        except _NotNice:
            continue
        # A decimal that only the wrong answer has would give it away without any calculation.
        if wrong != truth and (DECIMAL.search(chosen) or not DECIMAL.search(rejected)):
            words = {key: x if isinstance(x, str) else show(x) for key, x in names.items()}
            label = f"{kind.name}:{flaw}"
            return Pair(kind.prompts[form].format(**words), chosen, rejected, label, wrong > truth)
    raise RuntimeError(f"no presentable numbers for {kind.name} in {TRIES} draws")
