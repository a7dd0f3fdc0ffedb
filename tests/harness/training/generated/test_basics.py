"""Pairs that differ in the fact and in nothing else."""

from __future__ import annotations

import re

from harness.training.balance import longer_is_chosen
from harness.training.generated.basics import pairs


def test_pairs_differ_little_and_not_in_length() -> None:
    """Seeded, never equal, and the longer answer is right about half of the time."""
    made = pairs(1500, seed=5)
    assert made == pairs(1500, seed=5) != pairs(1500, seed=6)
    assert all(row["chosen"] != row["rejected"] for row in made)
    assert 0.42 < longer_is_chosen(made) < 0.58


def test_small_sums_are_right_and_wrong() -> None:
    """Reckoned anew from the text; only numbers below ten are added or taken away."""
    sums = 0
    for row in pairs(1500, seed=7):
        right = re.match(r"(\d+) ([-+]) (\d+) = (\d+)", row["chosen"])
        if right is None:
            continue
        left, sign, other, result = int(right[1]), right[2], int(right[3]), int(right[4])
        assert max(left, other) < 10
        assert result == (left + other if sign == "+" else left - other)
        wrong = re.match(r"\d+ [-+] \d+ = (\d+)", row["rejected"])
        assert wrong is not None and int(wrong[1]) != result
        sums += 1
    assert sums > 200


def test_counting_spelling_and_copying_hold() -> None:
    """The three kinds whose right answer can be read off the prompt."""
    seen = set()
    for row in pairs(1500, seed=8):
        prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
        if found := re.fullmatch(r"Count from (\d+) to (\d+)\.", prompt):
            right = ", ".join(map(str, range(int(found[1]), int(found[2]) + 1)))
        elif found := re.fullmatch(r"Spell the word '(\w+)'\.", prompt):
            right = "-".join(found[1].upper())
        elif found := re.fullmatch(r"Repeat these words: (.*)", prompt):
            right = found[1]
        else:
            continue
        seen.add(prompt.split()[0])
        assert chosen == right != rejected
    assert seen == {"Count", "Spell", "Repeat"}
