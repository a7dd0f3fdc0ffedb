"""Word problems of one to three steps about shapes, speeds, percentages, averages and units."""

from __future__ import annotations

import random

from harness.training.generated.problem import Problem, Step

_UNITS = (
    ("weeks", "days", 7),
    ("days", "hours", 24),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("years", "months", 12),
    ("metres", "centimetres", 100),
    ("kilometres", "metres", 1000),
    ("dozen eggs", "eggs", 12),
)


def _closing(rng: random.Random, sentence: str) -> str:
    return rng.choice((sentence, "The answer is {}."))


def rectangle(rng: random.Random) -> Problem:
    """The area of a rectangle, or its perimeter."""
    shape = rng.choice(("rectangle", "garden", "room", "field", "table"))
    long, wide = rng.randint(3, 40), rng.randint(2, 12)
    size = f"A {shape} is {long} metres long and {wide} metres wide. "
    if rng.random() < 0.5:
        steps: tuple[Step, ...] = (Step(long, "*", wide),)
        closing = _closing(rng, "The area is {} square metres.")
        return Problem(size + "What is its area?", steps, closing)
    steps = (Step(long, "+", wide), Step(2, "*", None))
    closing = _closing(rng, "The perimeter is {} metres.")
    return Problem(size + "What is its perimeter?", steps, closing)


def square(rng: random.Random) -> Problem:
    """A number squared, or the area of a square."""
    side = rng.randint(2, 25)
    if rng.random() < 0.5:
        prompt, sentence = f"What is {side} squared?", f"{side} squared is {{}}."
    else:
        prompt, sentence = f"A square has sides of {side} cm. What is its area?", "It is {} cm²."
    return Problem(prompt, (Step(side, "*", side),), _closing(rng, sentence))


def journey(rng: random.Random) -> Problem:
    """Distance from speed and time, or speed from distance and time."""
    speed, hours = rng.randint(3, 99), rng.randint(2, 9)
    what = rng.choice(("train", "car", "cyclist", "bus", "ship"))
    if rng.random() < 0.5:
        prompt = f"A {what} goes {speed} km per hour for {hours} hours. How far does it go?"
        return Problem(prompt, (Step(speed, "*", hours),), _closing(rng, "It goes {} km."))
    far = speed * hours
    prompt = f"A {what} goes {far} km in {hours} hours. What is its average speed?"
    return Problem(prompt, (Step(far, "/", hours),), _closing(rng, "It goes {} km per hour."))


def percentage(rng: random.Random) -> Problem:
    """So many per cent of a number, or a price after a discount."""
    percent = rng.choice((5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80))
    whole = rng.randint(1, 20) * rng.choice((20, 100))
    steps = (Step(whole, "*", percent), Step(None, "/", 100))
    if rng.random() < 0.5:
        closing = _closing(rng, f"{percent}% of {whole} is {{}}.")
        return Problem(f"What is {percent}% of {whole}?", steps, closing)
    thing = rng.choice(("coat", "bike", "lamp", "phone", "table"))
    prompt = f"A {thing} costs ${whole}. It is sold at {percent}% off. What does it cost now?"
    return Problem(prompt, (*steps, Step(whole, "-", None)), _closing(rng, "It costs ${} now."))


def average(rng: random.Random) -> Problem:
    """The average of three numbers; it is whole."""
    one, two = rng.randint(1, 60), rng.randint(1, 60)
    three = rng.randint(1, 20) * 3 - (one + two) % 3
    steps = (Step(one, "+", two), Step(None, "+", three), Step(None, "/", 3))
    prompt = rng.choice(
        (
            f"What is the average of {one}, {two} and {three}?",
            f"Find the mean of {one}, {two} and {three}.",
        )
    )
    return Problem(prompt, steps, _closing(rng, "The average is {}."))


def units(rng: random.Random) -> Problem:
    """Larger units in smaller ones."""
    large, small, factor = rng.choice(_UNITS)
    count = rng.randint(2, 30)
    prompt = rng.choice(
        (f"How many {small} are in {count} {large}?", f"How many {small} are {count} {large}?")
    )
    closing = _closing(rng, f"{count} {large} are {{}} {small}.")
    return Problem(prompt, (Step(count, "*", factor),), closing)


def remainder(rng: random.Random) -> Problem:
    """What a division leaves."""
    divisor, times = rng.randint(3, 12), rng.randint(2, 12)
    total = divisor * times + rng.randint(1, divisor - 1)
    prompt = rng.choice(
        (
            f"What is the remainder when {total} is divided by {divisor}?",
            f"{total} eggs go into boxes of {divisor}. How many are left over from full boxes?",
        )
    )
    steps = (Step(divisor, "*", times), Step(total, "-", None))
    return Problem(prompt, steps, _closing(rng, "{} are left over."))


def sequence(rng: random.Random) -> Problem:
    """The next number of an even sequence."""
    start, step = rng.randint(1, 60), rng.randint(2, 25)
    shown = [start + i * step for i in range(4)]
    prompt = f"What comes next: {', '.join(map(str, shown))}, ...?"
    steps = (Step(shown[1], "-", shown[0]), Step(shown[3], "+", None))
    return Problem(prompt, steps, _closing(rng, "The next number is {}."))


def multiple(rng: random.Random) -> Problem:
    """The age of somebody who is so many times as old as another, or of both together."""
    times, young = rng.randint(2, 5), rng.randint(2, 25)
    one, other = rng.sample(("Ada", "Bela", "Ciro", "Dora", "Enzo", "Flora"), 2)
    prompt = f"{one} is {young} years old. {other} is {times} times as old as {one}. "
    steps: tuple[Step, ...] = (Step(times, "*", young),)
    if rng.random() < 0.5:
        return Problem(prompt + f"How old is {other}?", steps, _closing(rng, f"{other} is {{}}."))
    steps = (*steps, Step(young, "+", None))
    closing = _closing(rng, "Together they are {}.")
    return Problem(prompt + "How old are they together?", steps, closing)
