# SPDX-License-Identifier: Apache-2.0
"""Hybrid against plain reward training: harness/training/TRAINED.md.

    python -m tests.benchmarks.trained dogerm-demo DATA OUT > harness/training/TRAINED.md

`dogerm-demo` is the folder of `dogerm demo`, DATA has the folders `train` and `eval` with the files
named below. Both kinds train on the same pairs for as many steps, from the same head, with every
seed; they are compared on held-out pairs of the same sets and on pairs of others, longer and
shorter chosen answers in equal numbers. (What each kind takes from a merge is in the study,
merge_recipes/study.yml; DSP's stages are in merge_recipes/study-real.yml.) Each command is one that
a user types; what is finished is kept, so a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from harness.compare.statistics import Comparison, compare
from harness.training.generated.corruption import corrupted_pairs
from tests.benchmarks.steps import run, write

Pair = dict[str, str]
SEEDS = (1, 2)
LONGEST = 500  # characters of a prompt with either answer
# Set -> its file, and whether its rejected answers are made: the chosen one with a word exchanged.
SAME = {
    "helpful": ("hh_helpful_test", False),
    "alpacaeval": ("alpacaeval_gpt4_prefs", False),
    "harmless": ("hh_harmless_test", False),
    "code-word": ("codealpaca_sft", True),
}
OTHERS = {
    "pandalm": ("pandalm_test", False),
    "llmbar": ("rewardbench", False),
    "maths-word": ("gsm8k_train_sft", True),
}
LEARN, HELD = 80, 60  # pairs of a set
SETTINGS = {
    "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "max_length": 192,
    "lora": {"rank": 8, "layers": [15, 29]},
    "validation": {"rows": 32, "data": [{"file": "validation.jsonl"}]},
}
TRAINING = {
    "batch_size": 16,
    "learning_rate": 5.0e-4,
    "evaluations": 1,
    "checkpoints": 4,
    "head": "zero",
}
POLICY = {"alpha": 0.2, "tau": 0.1, "reference": "base"}
KINDS = {"plain": "reward", "hybrid": "hybrid"}
TASK = """task: {}
class: !function harness.own_data.OwnPreferences
dataset_path: {}
columns: {{section: subset}}
"""


def pairs_of(data: Path, name: str, corrupt: bool, count: int) -> list[Pair]:
    """Short pairs of a file, no prompt twice; half of them with the longer answer chosen."""
    folder = "eval" if name == "rewardbench" else "train"
    lines = (data / folder / f"{name}.jsonl").read_text("utf-8").strip().split("\n")
    rows = [json.loads(line) for line in lines]
    if name == "rewardbench":
        rows = [row for row in rows if row["subset"].startswith("llmbar")]
    random.Random(f"trained {name}").shuffle(rows)
    if corrupt:
        rows = [{"prompt": row["prompt"], "chosen": row["response"]} for row in rows]
    keys = ("prompt", "chosen", "rejected")
    texts = [[row[key] for key in keys if key in row] for row in rows]
    short = (sum(map(len, one)) - min(map(len, one[1:])) * (len(one) == 3) for one in texts)
    rows = [row for row, length in zip(rows, short, strict=True) if length <= LONGEST]
    rows = list({row["prompt"]: row for row in rows}.values())
    if corrupt:
        return corrupted_pairs(rows[: 3 * count], seed=0)[:count]
    sides: dict[bool, list[Pair]] = {True: [], False: []}
    for row in rows:
        one = {key: row[key] for key in keys}
        sides[len(one["chosen"]) > len(one["rejected"])].append(one)
    if min(map(len, sides.values())) < count // 2:
        raise SystemExit(f"{name}: too few short pairs, {[len(side) for side in sides.values()]}")
    return [one for both in zip(*sides.values(), strict=False) for one in both][:count]


def prepare(data: Path, out: Path) -> None:
    """The pairs to learn from, to validate and to report."""
    learn, validation, held = [], [], []
    for name, (file, corrupt) in SAME.items():
        rows = pairs_of(data, file, corrupt, LEARN + HELD + 8)
        learn += rows[:LEARN]
        held += [{**row, "subset": name} for row in rows[LEARN : LEARN + HELD]]
        validation += rows[LEARN + HELD :]
    for name, (file, corrupt) in OTHERS.items():
        held += [{**row, "subset": name} for row in pairs_of(data, file, corrupt, HELD)]
    write(out / "data" / "learn.jsonl", learn)
    write(out / "data" / "validation.jsonl", validation)
    write(out / "data" / "held.jsonl", held)
    (out / "held.yaml").write_text(TASK.format("held", out / "data" / "held.jsonl"), "utf-8")


def train(base: Path, out: Path) -> None:
    """Each kind with each seed, and its rewards on the held-out pairs."""
    place = ("--data", str(out / "data"), "--model", str(base))
    for seed in SEEDS:
        for kind, command in KINDS.items():
            name = f"{kind}-{seed}"
            config = {**SETTINGS, "data": [{"file": "learn.jsonl"}]}
            config["training"] = {**TRAINING, "seed": seed}
            if kind == "hybrid":
                config["policy"] = POLICY
            file = str(write(out / f"{name}.yml", config))
            run(out, name, "dogerm", "train", command, file, "-o", str(out / name), *place)
            run(
                out, f"{name}-scored", "lm_eval", "--model", "reward", "--model_args",
                f"pretrained={base},peft={out / name},dtype=float32", "--tasks",
                str(out / "held.yaml"), "--log_samples", "--batch_size", "8",
                "--output_path", str(out / "results" / name),
            )  # fmt: skip


def right(folder: Path) -> dict[str, dict[int, float]]:
    """Set -> row -> 1 or 0, of a run."""
    found: dict[str, dict[int, float]] = {}
    for file in folder.rglob("samples_*.jsonl"):
        for line in file.read_text("utf-8").strip().split("\n"):
            row = json.loads(line)
            found.setdefault(row["doc"]["subset"], {})[row["doc_id"]] = float(row["accuracy"])
    return found


def told(one: Comparison) -> str:
    """A difference with its interval."""
    return f"{one.difference:+.3f} | {one.low:+.3f} to {one.high:+.3f} | {one.p:.3f}"


def hybrid_table(out: Path) -> Iterator[str]:
    """Accuracy by set and kind, means over the seeds, with paired differences."""
    runs = {
        (kind, seed): right(out / "results" / f"{kind}-{seed}") for kind in KINDS for seed in SEEDS
    }
    names = [*SAME, *OTHERS]
    means = {
        kind: {
            name: [
                fmean(runs[kind, seed][name][prompt] for seed in SEEDS)
                for prompt in runs[kind, SEEDS[0]][name]
            ]
            for name in names
        }
        for kind in KINDS
    }
    yield "| held-out pairs of | pairs | plain, seeds | hybrid, seeds | hybrid − plain | 95% | p |"
    yield "|---|--:|---|---|--:|---|--:|"
    groups = {
        **{name: [name] for name in names},
        "**the same sets**": list(SAME),
        "**other sets**": list(OTHERS),
    }
    for title, group in groups.items():
        cells = []
        for kind in KINDS:
            each = [
                fmean(v for name in group for v in runs[kind, seed][name].values())
                for seed in SEEDS
            ]
            cells.append(f"{fmean(each):.3f} ({', '.join(f'{one:.3f}' for one in each)})")
        values = {name: (means["plain"][name], means["hybrid"][name]) for name in group}
        count = sum(len(one[0]) for one in values.values())
        yield f"| {title} | {count} | {' | '.join(cells)} | {told(compare(values))} |"


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("demo", "data", "out"):
        parser.add_argument(name, type=lambda text: Path(text).resolve())
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    prepare(given.data, given.out)
    train(given.demo / "base", given.out)
    print("\n".join(hybrid_table(given.out)))


if __name__ == "__main__":
    main()
