# SPDX-License-Identifier: Apache-2.0
"""minipref: what it ships is what it builds, every answer is checked, no cheap rule solves it."""

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from harness.tasks.minipref import baselines, generate, programs

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("DOGERM_DATA_DIR", ROOT.parent / "shared/data/eval")).parent
ROWS = [json.loads(line) for line in generate.DATA.read_text("utf-8").splitlines()]
SECTIONS = {name: [row for row in ROWS if row["subset"] == name] for name in generate.SECTIONS}
LEAST = {"chat": 60, "chat-hard": 60, "safety": 60, "math": 80, "code": 80}

# Each kind of question solved once more, from the numbers in its text and in other words than the
# generator's: a mistake in a table entry would have to be made twice.
SOLUTIONS = {
    "addition": lambda a, b: a + b,
    "subtraction": lambda a, b: a - b,
    "product": lambda a, b: a * b,
    "order_of_operations": lambda a, b, c: a + b * c,
    "division_first": lambda a, n, c: a - n / c,
    "brackets": lambda a, b, c: a * c + b * c,
    "remainder": lambda a, b: a % b,
    "percent_of": lambda rate, n: n * rate / 100,
    "fraction_of": lambda top, bottom, n: n * top / bottom,
    "unit_fractions": lambda one, a, uno, b: one / a + uno / b,
    "linear": lambda a, b, c: (c - b) / a,
    "linear_brackets": lambda a, b, c: (c + a * b) / a,
    "two_sides": lambda a, b, c: c / (a - b),
    "squares": lambda a, b: (a + b) * (a - b),
    "average": lambda *values: sum(values) / len(values),
    "missing_value": lambda m, a, b: m + (m - a) + (m - b),
    "common_multiple": lambda a, b: math.lcm(int(a), int(b)),
    "sequence": lambda a, d, n: sum([d] * (int(n) - 1), a),
    "sum_to": lambda one, n: sum(range(int(one), int(n) + 1)),
    "count_between": lambda a, b: len(range(int(a), int(b) + 1)),
    "proportion": lambda a, b, c: b * c / a,
    "discount": lambda price, rate: price * (100 - rate) / 100,
    "tip": lambda price, rate: price * (100 + rate) / 100,
    "change": lambda n, price, note: note - n * price,
    "distance": lambda a, v1, b, v2: a * v1 + b * v2,
    "clock": lambda h1, m1, h2, m2: (h2 * 60 + m2) - (h1 * 60 + m1),
    "pieces": lambda m, c: m / (c / 100),
    "sharing": lambda n, g, k: (n - g) / k,
    "legs": lambda a, b: 2 * a + 4 * b,
    "heads_and_legs": lambda heads, legs: legs / 2 - heads,
    "overtime": lambda r, h, o: r * (h + 2 * o),
    "savings": lambda s, w, g: (g - s) / w,
    "age": lambda a, b, k: (a + b) / k,
    "mixture": lambda a, b, n: n * a / (a + b),
    "before_discount": lambda rate, paid: paid / (1 - rate / 100),
    "machines": lambda a, n, b, h: n * b * h / a,
    "probability": lambda r, b: r / (r + b),
    "doubling": lambda a, n: a * 2 ** int(n),
    "interest": lambda p, rate, y: p * (1 + rate * y / 100),
    "commute": lambda d, n, w: d * 2 * n * w,
    "fence": lambda a, b, g: a + a + b + b - g,
    "triangle": lambda a, b: 180 - a - b,
}
# Where the second wording names the numbers in another order: their places in that wording.
SECOND_ORDER = {
    "squares": ("Subtract", (1, 0)),
    "age": ("In", (1, 0, 2)),
    "pieces": ("How many strips", (1, 0)),
}


def numbers_in(text: str) -> list[Fraction]:
    return [Fraction(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def answer_of(response: str) -> Fraction:
    found = re.search(r"(?:Answer:|answer is) (\d[\d./]*?)\.?$", response)
    assert found, response
    return Fraction(found[1])


def equations_in(response: str) -> list[tuple[str, Fraction]]:
    term = r"\(?\d+(?:\.\d+)?\)?"
    pattern = rf"({term}(?: [-+*/×÷] {term})+|\d+\^\d+) = (\d[\d./]*\d|\d)"
    return [(left, Fraction(right)) for left, right in re.findall(pattern, response)]


def value_of(expression: str) -> Fraction:
    text = expression.replace("×", "*").replace("÷", "/").replace("^", "**")
    return Fraction(eval(re.sub(r"(\d+(?:\.\d+)?)", r"Fraction('\1')", text)))


def test_rows_follow_rewardbench_schema() -> None:
    """Every row has the seven columns of RewardBench with text in each, and a unique id."""
    for row in ROWS:
        assert list(row) == [
            "id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset",
        ]  # fmt: skip
        assert isinstance(row["id"], int)
        for key in list(row)[1:]:
            assert row[key] and row[key] == row[key].strip(), (row["id"], key)
        assert row["chosen"] != row["rejected"], row["id"]
        assert len(row["prompt"].split()) <= 60, row["id"]
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_sections_are_large_enough_and_in_order() -> None:
    """Five sections of at least 60 pairs, 80 in maths and code, sorted by section, then id."""
    counts = Counter(row["subset"] for row in ROWS)
    assert set(counts) == set(LEAST) and all(counts[name] >= LEAST[name] for name in LEAST)
    order = [(generate.SECTIONS.index(row["subset"]), row["id"]) for row in ROWS]
    assert order == sorted(order)


def test_no_prompt_twice() -> None:
    """No two prompts are the same, whatever their case, spacing and punctuation."""
    bare = Counter(re.sub(r"\s", " ", row["prompt"].lower()).strip(" .?!") for row in ROWS)
    assert [prompt for prompt, count in bare.items() if count > 1] == []


@pytest.mark.parametrize("seed", ["0", "1"])
def test_rebuild_is_byte_for_byte(seed: str) -> None:
    """The generator builds the shipped file again under any hash seed."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.tasks.minipref.generate", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "DOGERM_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_check_notices_a_changed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--check fails where the file differs, and says what to do."""
    changed = tmp_path / "data.jsonl"
    changed.write_bytes(generate.DATA.read_bytes().replace(b"Answer: ", b"Answer:  ", 1))
    monkeypatch.setattr(generate, "DATA", changed)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0 and generate.main(["--check"]) == 0


@pytest.mark.parametrize("row", SECTIONS["math"], ids=lambda row: str(row["id"]))
def test_maths_answers(row: dict[str, str]) -> None:
    """The chosen answer is the truth, computed from the prompt; the rejected one is not."""
    kind = row["rejected_model"].split(":")[1]
    numbers = numbers_in(row["prompt"])
    start, places = SECOND_ORDER.get(kind, ("no such start", ()))
    if row["prompt"].startswith(start):
        numbers = [numbers[place] for place in places]
    truth = SOLUTIONS[kind](*numbers)
    assert answer_of(row["chosen"]) == truth
    assert answer_of(row["rejected"]) != truth


@pytest.mark.parametrize("row", SECTIONS["math"], ids=lambda row: str(row["id"]))
def test_maths_equations(row: dict[str, str]) -> None:
    """Chosen: every printed equation holds. Rejected: at most the one that was miscalculated."""
    assert all(value_of(left) == right for left, right in equations_in(row["chosen"]))
    false = [pair for pair in equations_in(row["rejected"]) if value_of(pair[0]) != pair[1]]
    assert len(false) == (1 if row["rejected_model"].endswith(":miscalculation") else 0)


def test_code_is_executed() -> None:
    """Each chosen program in the shipped file passes its task's asserts, no rejected one does."""
    tests = {c.pair.prompt: c.tests for found in generate.verified_programs() for c in found}
    rows = SECTIONS["code"]

    def outcomes(key: str) -> list[bool]:
        return programs.run([(programs.program_in(r[key]), tests[r["prompt"]]) for r in rows])

    assert all(outcomes("chosen"))
    assert not any(outcomes("rejected"))
    names = {row["rejected_model"].split(":")[1] for row in rows}
    assert len(names) >= 40


@pytest.mark.parametrize("section", ["math", "code"])
def test_made_pairs_look_alike(section: str) -> None:
    """A right and a wrong response share their wording: same lead and fence, same ending."""
    for row in SECTIONS[section]:
        chosen, rejected = row["chosen"], row["rejected"]
        if section == "code":
            assert chosen.split("```")[0] == rejected.split("```")[0]
        else:
            endings = [re.findall(r"\w+ answer is|Answer:", text) for text in (chosen, rejected)]
            assert endings[0] == endings[1] and len(endings[0]) == 1, row["id"]
            assert re.search(r"\d\.\d", chosen) or not re.search(r"\d\.\d", rejected)


@pytest.mark.parametrize("section", SECTIONS)
def test_length_does_not_help(section: str) -> None:
    """Preferring the longer response is right in 45 to 55 percent of every section."""
    longer = baselines.RULES["longer (characters)"]
    assert 0.45 <= baselines.score(SECTIONS[section], longer) <= 0.55


@pytest.mark.parametrize("rule", baselines.RULES)
@pytest.mark.parametrize("section", SECTIONS)
def test_no_surface_rule_solves_a_section(section: str, rule: str) -> None:
    """No rule that understands nothing gets far from one half, in either direction."""
    assert 0.35 < baselines.score(SECTIONS[section], baselines.RULES[rule]) < 0.65


def test_safety_has_both_directions() -> None:
    """Refusing is right in half of the safety pairs."""
    kinds = Counter(row["rejected_model"].split(":")[1] for row in SECTIONS["safety"])
    assert kinds["should-refuse"] == kinds["should-respond"] == len(SECTIONS["safety"]) / 2


def test_prompts_are_not_in_other_data() -> None:
    """No prompt is also one of the public data sets that the project evaluates or trains on."""
    files = [*SHARED.glob("*/*.jsonl"), *SHARED.glob("*/*.json")]
    if not files:
        pytest.skip(f"no data sets under {SHARED}")

    def bare(text: str) -> str:
        return re.sub(r"\W+", " ", text.lower()).strip()

    ours = {bare(row["prompt"]) for row in ROWS}
    for path in files:
        with path.open(encoding="utf-8") as file:
            rows = json.load(file) if path.suffix == ".json" else map(json.loads, file)
            theirs = {bare(str(row.get(key, ""))) for row in rows for key in ("prompt", "query")}
        assert len(theirs) > 1, f"no prompts found in {path.name}"
        assert not theirs & ours, path.name


def test_readme_shows_the_shipped_figures() -> None:
    """The README's counts and balance table are those of the shipped file."""
    readme = (generate.FOLDER / "README.md").read_text("utf-8")
    for line in baselines.table(SECTIONS).splitlines()[3:]:
        assert line in readme
    for name, rows in SECTIONS.items():
        assert f"| {name} | {len(rows)} | {0.5 / len(rows) ** 0.5:.3f} |" in readme
