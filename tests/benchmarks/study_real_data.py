# SPDX-License-Identifier: Apache-2.0
"""The rows of the study in merge_recipes/study-real.yml, of real data.

    python tests/benchmarks/study_real_data.py DATA study-real-data

DATA has ``eval/dsp.json`` (Linear95/DSP), ``eval/gsm8k_pairs.jsonl`` (rows of prompt, chosen,
rejected) and ``train/gsm8k_train_sft.jsonl`` (rows of prompt, response). DSP's queries are split
in three: those that are reported, those that choose, and those whose answers a domain model reads
and whose pairs are labels. A pair is the domain's own answer and another domain's; all four of a
query are reported, as DSP does. Beside them: easy questions that the reward model was trained on
in kind, none of them one that it has seen.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.training.generated import basics

Row = dict[str, Any]
DOMAINS = ("academy", "business", "entertainment", "literature")
LONGEST = 1000  # characters of each of a query's answers
REPORTED, CHOOSING = 64, 56  # of DSP's queries
MATHS_REPORTED, MATHS_CHOOSING, MATHS_READ = 120, 80, 500
EASY, SEEN = 60, 2000  # the reward model's config has so many rows, of seed 0
TASK = """\
task: {name}
class: !function harness.own_data.OwnPreferences
dataset_path: {rows}
columns: {{section: domain}}
"""


def read(file: Path, name: str) -> list[Row]:
    """A file's rows in an order of our own."""
    text = file.read_text("utf-8")
    rows = json.loads(text) if file.suffix == ".json" else map(json.loads, text.strip().split("\n"))
    drawn = list(rows)
    random.Random(f"study {name}").shuffle(drawn)
    return drawn


def pairs(rows: Sequence[Row], domain: str, others: int) -> Iterator[Row]:
    """The domain's own answer before so many other domains' to the same query; empty ones aside."""
    for row in rows:
        answers = row["responses"]
        rest = sorted(name for name in answers if name != domain and answers[name].strip())
        rng = random.Random(f"{domain} {row['query']}")
        for other in rng.sample(rest, min(others, len(rest))) if answers[domain].strip() else ():
            chosen, rejected = answers[domain], answers[other]
            yield {"prompt": row["query"], "chosen": chosen, "rejected": rejected, "domain": domain}


def of_dsp(rows: Sequence[Row]) -> Iterator[tuple[str, Iterable[Row]]]:
    """Every file of the four domains."""
    short = [row for row in rows if max(map(len, row["responses"].values())) <= LONGEST]
    reported, chosen = short[:REPORTED], short[REPORTED : REPORTED + CHOOSING]
    learned = short[REPORTED + CHOOSING :]
    for domain in DOMAINS:
        yield domain, pairs(reported, domain, 4)
        yield f"choosing-{domain}", pairs(chosen, domain, 2)
        yield f"labels-{domain}", pairs(learned, domain, 1)
        read = ({"prompt": row["query"], "response": row["responses"][domain]} for row in learned)
        yield f"read/{domain}/read", read


def of_maths(tested: Sequence[Row], worked: Sequence[Row]) -> Iterator[tuple[str, Iterable[Row]]]:
    """Every file of GSM8K: one right and one wrong answer to a question, and worked solutions."""
    rows = [
        {**{key: row[key] for key in ("prompt", "chosen", "rejected")}, "domain": "maths"}
        for row in tested
    ]
    first = MATHS_REPORTED + MATHS_CHOOSING
    yield "maths", rows[:MATHS_REPORTED]
    yield "choosing-maths", rows[MATHS_REPORTED:first]
    yield "labels-maths", rows[first:]
    keys = ("prompt", "response")
    yield "read/maths/read", ({key: row[key] for key in keys} for row in worked[:MATHS_READ])


def easy() -> Iterator[Row]:
    """Easy questions that the reward model's training had none of."""
    seen = {one["prompt"] for one in basics.pairs(SEEN, 0)}
    fresh = {one["prompt"]: one for one in basics.pairs(3 * SEEN, 2026)}
    new = ({**one, "domain": "easy"} for prompt, one in fresh.items() if prompt not in seen)
    return islice(new, EASY)


def write(data: Path, out: Path) -> None:
    """Write every file, and a task for each that is not trained on."""
    dsp = read(data / "eval" / "dsp.json", "dsp")
    tested = read(data / "eval" / "gsm8k_pairs.jsonl", "tested")
    worked = read(data / "train" / "gsm8k_train_sft.jsonl", "worked")
    out.mkdir(parents=True, exist_ok=True)
    for name, made in (*of_dsp(dsp), *of_maths(tested, worked), ("easy", easy())):
        rows = out / f"{name}.jsonl"
        rows.parent.mkdir(parents=True, exist_ok=True)
        rows.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
        if not name.startswith(("labels", "read")):
            (out / f"{name}.yaml").write_text(TASK.format(name=name, rows=rows.resolve()), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    write(given.data, given.out)
