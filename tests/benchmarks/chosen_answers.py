# SPDX-License-Identifier: Apache-2.0
"""What kind of answer a reward model chooses in STUDY.md's best-of-N, and what chance would.

    python tests/benchmarks/chosen_answers.py data/bon.jsonl study-data/atlas.jsonl results/*

Prints, for N = 2, 4 and 8, the share of right answers where one of the *different* answers is
taken by chance (a policy says a right one oftener than others; a reward does not see how often),
and for each run the share of the chosen of eight by kind: right to the letter, of the same form
with another value, or another phrase.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

Row = dict[str, Any]


def rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def by_chance(questions: list[Row], count: int) -> float:
    """The mean over questions and subsets of the share of right ones among the different."""

    def of_question(row: Row) -> Iterator[float]:
        for some in combinations(zip(row["responses"], row["labels"], strict=True), count):
            yield fmean({answer.strip(): label for answer, label in some}.values())

    return fmean(fmean(of_question(row)) for row in questions)


def kind(pair: Row, response: str, label: int) -> str:
    """Of an answer to a question whose pair has one right and one wrong value."""
    words = zip(pair["chosen"].split(), pair["rejected"].split(), strict=False)
    begins = " ".join(one for one, _ in takewhile(lambda both: both[0] == both[1], words))
    if label:
        return "right"
    return "another value" if response.strip().startswith(begins) else "another phrase"


def main(candidates: Path, asked: Path, runs: list[Path]) -> None:
    """See the module."""
    questions = rows(candidates)
    pairs = {row["prompt"]: row for row in rows(asked)}
    print("different answers by chance", {n: round(by_chance(questions, n), 3) for n in (2, 4, 8)})
    everything = Counter(
        kind(pairs[row["prompt"]], *one)
        for row in questions
        for one in zip(row["responses"], row["labels"], strict=True)
    )
    tell("all answers", everything)
    for run in runs:
        chosen: Counter[str] = Counter()
        for sample in rows(next(run.glob("*/samples_bon_*.jsonl"))):
            row = questions[sample["doc_id"]]
            scores = [float(one[0][0]) for one in sample["resps"]]
            best = scores.index(max(scores))
            chosen[kind(pairs[row["prompt"]], row["responses"][best], row["labels"][best])] += 1
        tell(run.name, chosen)


def tell(what: str, kinds: Counter[str]) -> None:
    print(what, {name: round(kinds[name] / kinds.total(), 3) for name in sorted(kinds)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(one) for one in sys.argv[3:]])
