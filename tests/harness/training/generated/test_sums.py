"""The answers are right, the slips are wrong."""

from __future__ import annotations

import random
import re
from itertools import islice

from harness.training.generated.problem import draw_slip
from harness.training.generated.sums import pairs, problems, rows

_STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def _holds(step: tuple[str, str, str, str]) -> bool:
    left, operator, right, result = int(step[0]), step[1], int(step[2]), int(step[3])
    if operator == "/":
        return left == result * right
    return result == {"+": left + right, "-": left - right, "*": left * right}[operator]


def test_every_step_of_every_answer_holds() -> None:
    """Read back from the text, and reckoned anew."""
    made = rows(1500, seed=11)
    for row in made:
        steps = _STEP.findall(row["response"])
        assert steps and all(_holds(step) for step in steps), row
        last = re.findall(r"\d+", row["response"])[-1]
        assert last == steps[-1][3], row
    assert len({row["prompt"] for row in made}) == len(made)
    assert made == rows(1500, seed=11)


def test_prompt_arithmetic_agrees_with_the_answer() -> None:
    """For prompts that are an expression, Python is the judge."""
    checked = 0
    for row in rows(1500, seed=12):
        found = re.search(
            r"(?:What is|Calculate|Compute|Work out) ([\d(][-+*/() \d]*\d\)?|\(.*)[.?]",
            row["prompt"],
        )
        if found and re.search(r"[-+*/]", found[1]):
            assert re.fullmatch(r"[-+*/() \d]+", found[1])
            value = eval(found[1])  # digits and operators only
            assert int(re.findall(r"\d+", row["response"])[-1]) == value, row
            checked += 1
    assert checked > 200


def test_every_slip_is_one_wrong_step() -> None:
    """The chosen answer holds; the rejected one breaks in exactly one place and ends wrong."""
    made = pairs(800, seed=13)
    for row in made:
        assert all(_holds(step) for step in _STEP.findall(row["chosen"])), row
        wrong = _STEP.findall(row["rejected"])
        assert sum(not _holds(step) for step in wrong) == 1, row
        assert wrong[-1][3] != _STEP.findall(row["chosen"])[-1][3], row
    longer = sum(len(r["chosen"]) > len(r["rejected"]) for r in made)
    shorter = sum(len(r["chosen"]) < len(r["rejected"]) for r in made)
    assert abs(longer - shorter) < 0.1 * len(made)


def test_slips_stay_in_the_realm_of_whole_numbers() -> None:
    """No negative results, and the end result changes."""
    rng = random.Random(0)
    for problem in islice(problems(14), 500):
        slip = draw_slip(problem, rng)
        assert min(problem.results(slip)) >= 0
        assert problem.results(slip)[-1] != problem.results()[-1]
