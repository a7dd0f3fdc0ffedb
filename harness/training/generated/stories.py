"""Word problems of one or two steps about people who have, buy, share and compare things."""

# ruff: noqa: SIM905  (word lists are easier to read as a sentence)

from __future__ import annotations

import random

from harness.training.generated.expressions import draw_numbers
from harness.training.generated.problem import Problem, Step

_NAMES = (
    "Ana Ben Carla Dev Emma Farid Grace Hugo Ivy Jonas Kofi Lena Maria Noah Olga Pablo Quinn "
    "Rosa Sam Tara Umar Vera Will Xenia Yusuf Zoe"
).split()
_THINGS = (
    "apples books cards coins eggs flowers keys lamps marbles nails oranges pens plates "
    "ribbons shells stamps stickers tickets toys bottles"
).split()


def gain_or_loss(rng: random.Random) -> Problem:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    operator = rng.choice("+-")
    left, right = draw_numbers(operator, rng)
    verb = rng.choice(
        ("buys", "finds", "gets", "is given")
        if operator == "+"
        else ("gives away", "sells", "loses", "uses")
    )
    more = " more" if operator == "+" else ""
    question = rng.choice(
        (
            f"How many {thing} does {name} have now?",
            f"How many {thing} does {name} have in the end?",
        )
    )
    prompt = f"{name} has {left} {thing} and {verb} {right}{more}. {question}"
    closing = rng.choice((f"{name} has {{}} {thing}.", "The answer is {}."))
    return Problem(prompt, (Step(left, operator, right),), closing)


def gain_and_loss(rng: random.Random) -> Problem:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    start, more = rng.randint(5, 90), rng.randint(2, 90)
    less = rng.randint(1, start + more - 1)
    prompt = (
        f"{name} had {start} {thing}. {name} bought {more} more and then gave {less} to a friend. "
        f"How many {thing} are left?"
    )
    closing = rng.choice((f"{name} has {{}} {thing} left.", "The answer is {}."))
    return Problem(prompt, (Step(start, "+", more), Step(None, "-", less)), closing)


def groups(rng: random.Random) -> Problem:
    thing, box = rng.choice(_THINGS), rng.choice(("boxes", "bags", "rows", "baskets", "shelves"))
    each, count = draw_numbers("*", rng)
    if rng.random() < 0.5:
        prompt = rng.choice(
            (
                f"There are {count} {box} with {each} {thing} each. How many {thing} in total?",
                f"Each of {count} {box} holds {each} {thing}. How many {thing} is that?",
            )
        )
        closing = rng.choice((f"There are {{}} {thing}.", "The answer is {}."))
        return Problem(prompt, (Step(count, "*", each),), closing)
    extra = rng.randint(1, 60)
    prompt = (
        f"There are {count} {box} with {each} {thing} each, and {extra} loose {thing}. "
        f"How many {thing} are there in all?"
    )
    closing = rng.choice((f"There are {{}} {thing} in all.", "The answer is {}."))
    return Problem(prompt, (Step(count, "*", each), Step(None, "+", extra)), closing)


def sharing(rng: random.Random) -> Problem:
    thing = rng.choice(_THINGS)
    total, people = draw_numbers("/", rng)
    prompt = rng.choice(
        (
            f"{total} {thing} are shared equally among {people} children. "
            f"How many {thing} does each child get?",
            f"{rng.choice(_NAMES)} packs {total} {thing} into {people} equal bags. "
            f"How many {thing} are in each bag?",
        )
    )
    closing = rng.choice(("Each gets {}.", "The answer is {}.", f"That is {{}} {thing} each."))
    return Problem(prompt, (Step(total, "/", people),), closing)


def money(rng: random.Random) -> Problem:
    name, thing = rng.choice(_NAMES), rng.choice(_THINGS)
    count, price = rng.randint(2, 12), rng.randint(2, 25)
    if rng.random() < 0.5:
        prompt = f"{name} buys {count} {thing} for ${price} each. How much does {name} pay?"
        closing = rng.choice((f"{name} pays ${{}}.", "The answer is {}."))
        return Problem(prompt, (Step(count, "*", price),), closing)
    paid = count * price + rng.randint(1, 50)
    prompt = (
        f"{name} buys {count} {thing} at ${price} each and pays with ${paid}. "
        f"How much change does {name} get?"
    )
    closing = rng.choice((f"{name} gets ${{}} back.", "The answer is {}."))
    return Problem(prompt, (Step(count, "*", price), Step(paid, "-", None)), closing)


def difference(rng: random.Random) -> Problem:
    one, other = rng.sample(_NAMES, 2)
    thing = rng.choice(_THINGS)
    left, right = draw_numbers("-", rng)
    if rng.random() < 0.5:
        prompt = (
            f"{one} has {left} {thing} and {other} has {right}. "
            f"How many more {thing} does {one} have than {other}?"
        )
        closing = rng.choice((f"{one} has {{}} more.", "The answer is {}."))
        return Problem(prompt, (Step(left, "-", right),), closing)
    prompt = (
        f"{one} has {left} {thing}. {other} has {right} more than {one}. "
        f"How many {thing} do they have together?"
    )
    closing = rng.choice((f"Together they have {{}} {thing}.", "The answer is {}."))
    return Problem(prompt, (Step(left, "+", right), Step(left, "+", None)), closing)
