# SPDX-License-Identifier: Apache-2.0
"""Build data.jsonl: `python -m harness.tasks.minipref.generate [--check | --report]`.

The handwritten pairs come from handwritten.jsonl; the maths and code pairs are made here, each from
its own seed, so that a new table entry leaves the other pairs as they are. Of several candidates
per place the one is kept that keeps the longer response right half of the time.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from harness.tasks.minipref import baselines, programs
from harness.tasks.minipref.arithmetic import Kind, Pair, make

FOLDER = Path(__file__).parent
DATA = FOLDER / "data.jsonl"
HANDWRITTEN = FOLDER / "handwritten.jsonl"
SECTIONS = ("chat", "chat-hard", "safety", "math", "code")
SEED = "minipref 1"
DRAWS = 12
KINDS = ("sums", "stories")
TASKS = ("number_programs", "text_programs", "list_programs")


def table(name: str) -> dict[str, Any]:
    """One of the tables beside this file, from which maths and code pairs are made."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))


def kinds() -> Iterator[Kind]:
    """The kinds of maths questions; of words, a table names a list that several kinds draw from."""
    for content in map(table, KINDS):
        for entry in content["kind"]:
            draw = {k: _choices(v, content.get("words", {})) for k, v in entry["draw"].items()}
            yield Kind(**{**entry, "draw": draw})


def _choices(drawn: Any, words: Mapping[str, Any]) -> Sequence[int | str]:
    if isinstance(drawn, Mapping):
        return range(*drawn["range"])
    choices: Sequence[int | str] = words[drawn] if isinstance(drawn, str) else drawn
    return choices


def handwritten(section: str) -> Iterator[Pair]:
    """The pairs of a section that were written by hand."""
    with HANDWRITTEN.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["subset"] == section:
                yield Pair(row["prompt"], row["chosen"], row["rejected"], row["flaw"])


def leads(pair: Pair) -> tuple[int, int, int]:
    """Which response is longer, which wordier, which number larger: 1 the chosen, -1 the other."""

    def sign(chosen: int, rejected: int) -> int:
        return (chosen > rejected) - (chosen < rejected)

    words = sign(len(pair.chosen.split()), len(pair.rejected.split()))
    return sign(len(pair.chosen), len(pair.rejected)), words, -1 if pair.larger else 1


def balanced(places: Iterable[list[Pair]]) -> Iterator[Pair]:
    """From each list the pair that best evens out which side is longer, wordier and larger.

    At every second place a pair of unlike lengths is taken where there is one: with ties alone the
    set would say nothing about a model that prefers length.
    """
    totals = [0, 0, 0]
    for number, pairs in enumerate(places):
        unlike = [pair for pair in pairs if len(pair.chosen) != len(pair.rejected)]
        outcomes = [
            ([total + lead for total, lead in zip(totals, leads(pair), strict=True)], pair)
            for pair in (unlike if unlike and number % 2 else pairs)
        ]
        totals, best = min(outcomes, key=lambda o: (abs(o[0][0]), abs(o[0][1]) + abs(o[0][2])))
        yield best


def maths() -> Iterator[Pair]:
    """Two pairs of every kind in the tables, one per wording."""

    def places() -> Iterator[list[Pair]]:
        for kind in kinds():
            for form in range(len(kind.prompts)):
                rng = Random(f"{SEED}/{kind.name}/{form}")
                yield [make(kind, form, rng) for _ in range(DRAWS)]

    return balanced(places())


def verified_programs() -> list[list[programs.Candidate]]:
    """The candidates per task and variant; raises ValueError where the tests do not separate."""
    places = []
    for task in (programs.Task(**entry) for name in TASKS for entry in table(name)["task"]):
        for number, variant in enumerate(task.variants):
            rng = Random(f"{SEED}/{task.name}/{number}")
            drawn = programs.candidates(task, variant, rng)
            rng.shuffle(drawn)
            places.append(drawn)
    every = [candidate for drawn in places for candidate in drawn]
    right = programs.run([(candidate.right, candidate.tests) for candidate in every])
    wrong = programs.run([(candidate.wrong, candidate.tests) for candidate in every])
    for candidate, passes, escapes in zip(every, right, wrong, strict=True):
        if not passes or escapes:
            what = "the bug passes" if passes else "the function fails"
            raise ValueError(f"{candidate.pair.label}: {what} the tests\n{candidate.tests}")
    return places


def code() -> Iterator[Pair]:
    """One pair of every variant in the tables, each program executed."""
    return balanced([c.pair for c in drawn] for drawn in verified_programs())


def build() -> list[dict[str, object]]:
    """All rows, in RewardBench's schema; ids count from 1000 in chat, 2000 in chat-hard, ..."""
    made = {"math": maths, "code": code}
    rows: list[dict[str, object]] = []
    for thousand, section in enumerate(SECTIONS, 1):
        pairs = made[section]() if section in made else handwritten(section)
        for number, pair in enumerate(pairs):
            rows.append(
                {
                    "id": thousand * 1000 + number,
                    "prompt": pair.prompt,
                    "chosen": pair.chosen,
                    "chosen_model": "minipref",
                    "rejected": pair.rejected,
                    "rejected_model": f"minipref:{pair.label}",
                    "subset": section,
                }
            )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Write data.jsonl, or with --check say whether it is up to date; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m harness.tasks.minipref.generate")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 if it differs")
    parser.add_argument("--report", action="store_true", help="print what trivial rules score")
    options = parser.parse_args(arguments)
    rows = build()
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if options.report:
        sections = {s: [row for row in rows if row["subset"] == s] for s in SECTIONS}
        sys.stdout.write(baselines.table(sections))
    elif not options.check:
        DATA.write_text(text, "utf-8", newline="\n")
        print(f"{len(rows)} pairs written to {DATA}")
    elif not DATA.exists() or DATA.read_bytes() != text.encode():
        print(f"{DATA} is not what this program builds: run it without --check", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
