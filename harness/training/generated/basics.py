"""Easy questions with one right answer, as preference pairs for a general reward model.

Counting, copying, spelling, order, reading one fact out of a sentence, well-known facts, and sums
of numbers below ten. In each pair the wrong answer has the words of the right one but for the fact
itself, so neither length nor style tells them apart.
"""

# ruff: noqa: SIM905  (word lists are easier to read as a sentence)

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

_NAMES = "Alice Bob Cleo Dan Erik Fay Gina Hans Ines Jack Kim Leo Mona Nils Orla Pete".split()
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTHS = (
    "January February March April May June July August September October November December"
).split()
_COLOURS = "red blue green yellow black white brown pink grey purple".split()
_OBJECTS = "ball hat car bag cup chair bike coat lamp scarf kite boat".split()
_PLACES = "kitchen garden office park library cellar garage station market school".split()
_WORDS = (
    "house river mountain window garden bridge candle forest dragon planet silver winter "
    "summer bottle pencil orange tiger rabbit village market doctor teacher engine basket"
).split()
FACTS: dict[str, dict[str, str]] = {
    "What is the capital of {}?|The capital of {} is {}.": {
        "France": "Paris",
        "Germany": "Berlin",
        "Italy": "Rome",
        "Spain": "Madrid",
        "Japan": "Tokyo",
        "China": "Beijing",
        "Russia": "Moscow",
        "Egypt": "Cairo",
        "Greece": "Athens",
        "Austria": "Vienna",
        "Ireland": "Dublin",
        "Portugal": "Lisbon",
        "Norway": "Oslo",
        "Sweden": "Stockholm",
        "Poland": "Warsaw",
        "Cuba": "Havana",
        "Peru": "Lima",
        "Kenya": "Nairobi",
    },
    "What is the opposite of '{}'?|The opposite of '{}' is '{}'.": {
        "hot": "cold",
        "big": "small",
        "up": "down",
        "fast": "slow",
        "happy": "sad",
        "early": "late",
        "open": "closed",
        "light": "dark",
        "young": "old",
        "wet": "dry",
        "rich": "poor",
        "hard": "soft",
        "left": "right",
        "full": "empty",
    },
    "What is a young {} called?|A young {} is called a {}.": {
        "dog": "puppy",
        "cat": "kitten",
        "cow": "calf",
        "horse": "foal",
        "sheep": "lamb",
        "frog": "tadpole",
        "hen": "chick",
        "bear": "cub",
    },
    "What colour is {}?|The colour of {} is {}.": {
        "grass": "green",
        "the sky on a clear day": "blue",
        "snow": "white",
        "coal": "black",
        "a ripe banana": "yellow",
        "blood": "red",
    },
    "Which sense do we use our {} for?|We use our {} for {}.": {
        "eyes": "sight",
        "ears": "hearing",
        "nose": "smell",
        "tongue": "taste",
        "skin": "touch",
    },
}

Pair = tuple[str, str, str]


def pairs(count: int, seed: int) -> list[dict[str, str]]:
    """`count` rows of `prompt`, `chosen` and `rejected`; a prompt can come back."""
    rng = random.Random(f"basics {seed}")
    made = (rng.choice(_KINDS)(rng) for _ in range(count))
    return [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in made]


def _other(rng: random.Random, options: Sequence[str], right: str) -> str:
    return rng.choice([option for option in options if option != right])


def _fact(rng: random.Random) -> Pair:
    form = rng.choice(sorted(FACTS))
    question, sentence = form.split("|")
    table = FACTS[form]
    key = rng.choice(sorted(table))
    wrong = _other(rng, sorted(set(table.values())), table[key])
    return question.format(key), sentence.format(key, table[key]), sentence.format(key, wrong)


def _order(rng: random.Random) -> Pair:
    names, what = rng.choice(((_DAYS, "day"), (_MONTHS, "month")))
    index, step = rng.randrange(len(names)), rng.choice((1, -1))
    right = names[(index + step) % len(names)]
    word = "after" if step == 1 else "before"
    sentence = f"The {what} {word} {names[index]} is {{}}."
    wrong = _other(rng, [name for name in names if name != names[index]], right)
    prompt = f"Which {what} comes {word} {names[index]}?"
    return prompt, sentence.format(right), sentence.format(wrong)


def _reading(rng: random.Random) -> Pair:
    first, second, third = rng.sample(_NAMES, 3)
    colours, things = rng.sample(_COLOURS, 3), rng.sample(_OBJECTS, 3)
    people = list(zip((first, second, third), colours, things, strict=True))
    scene = " ".join(f"{name} has a {colour} {thing}." for name, colour, thing in people)
    name, colour, thing = rng.choice(people)
    if rng.random() < 0.5:
        prompt = f"{scene} Who has the {thing}?"
        return (
            prompt,
            f"{name} has the {thing}.",
            f"{_other(rng, [first, second, third], name)} has the {thing}.",
        )
    prompt = f"{scene} What colour is the {thing} of {name}?"
    wrong = _other(rng, colours, colour)
    return prompt, f"The {thing} of {name} is {colour}.", f"The {thing} of {name} is {wrong}."


def _places(rng: random.Random) -> Pair:
    name, (start, end) = rng.choice(_NAMES), rng.sample(_PLACES, 2)
    prompt = f"{name} went from the {start} to the {end}. Where is {name} now?"
    return prompt, f"{name} is in the {end}.", f"{name} is in the {start}."


def _spelling(rng: random.Random) -> Pair:
    word = rng.choice(_WORDS)
    letters = list(word.upper())
    wrong = letters[:]
    at = rng.randrange(len(letters))
    wrong[at] = _other(rng, "ABCDEFGHIJKLMNOPRSTUVWY", letters[at])
    return f"Spell the word '{word}'.", "-".join(letters), "-".join(wrong)


def _copying(rng: random.Random) -> Pair:
    words = rng.sample(_WORDS, rng.randint(3, 6))
    wrong = words[:]
    wrong[rng.randrange(len(words))] = _other(rng, [w for w in _WORDS if w not in words], "")
    return f"Repeat these words: {' '.join(words)}", " ".join(words), " ".join(wrong)


def _counting(rng: random.Random) -> Pair:
    start, length = rng.randint(1, 40), rng.randint(4, 8)
    numbers = [start + i for i in range(length)]
    wrong = numbers[:]
    wrong[rng.randrange(1, length)] += rng.choice((-3, -2, -1, 1, 2, 3))
    prompt = f"Count from {start} to {start + length - 1}."
    return prompt, ", ".join(map(str, numbers)), ", ".join(map(str, wrong))


def _larger(rng: random.Random) -> Pair:
    one, other = rng.sample(range(10, 1000), 2)
    word, right, wrong = (
        ("larger", max(one, other), min(one, other))
        if rng.random() < 0.5
        else ("smaller", min(one, other), max(one, other))
    )
    prompt = f"Which number is {word}, {one} or {other}?"
    return prompt, f"The {word} number is {right}.", f"The {word} number is {wrong}."


def _small_sum(rng: random.Random) -> Pair:
    one, other = rng.randint(0, 9), rng.randint(0, 9)
    if rng.random() < 0.5 or one == other:
        left, sign, word, right = one, "+", "plus", one + other
    else:
        one, other = max(one, other), min(one, other)
        left, sign, word, right = one, "-", "minus", one - other
    wrong = rng.choice([n for n in range(max(0, right - 4), right + 5) if n != right])
    prompt = rng.choice(
        (
            f"What is {left} {word} {other}?",
            f"What is {left} {sign} {other}?",
            f"Calculate {left} {sign} {other}.",
        )
    )
    sentence = rng.choice(
        (f"{left} {sign} {other} = {{}}", f"{left} {sign} {other} = {{}}. The answer is {{}}.")
    )
    return prompt, sentence.replace("{}", str(right)), sentence.replace("{}", str(wrong))


_KINDS: tuple[Callable[[random.Random], Pair], ...] = (
    _fact,
    _order,
    _reading,
    _places,
    _spelling,
    _copying,
    _counting,
    _larger,
    _small_sum,
    _small_sum,
    _small_sum,
)
