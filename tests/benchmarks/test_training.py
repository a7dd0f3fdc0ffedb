# SPDX-License-Identifier: Apache-2.0
"""`dogerm train reward` against TRL's own RewardTrainer: pairs per second, and peak memory.

$DOGERM_TRAIN_BASE is a base model of 135M, and $DOGERM_TRAIN_DATA has hh_helpful_test.jsonl, whose
prompts are of several turns, and alpacaeval_gpt4_prefs.jsonl, whose prompts are short. Each run is
a process of its own (`train_once`), which measures the training alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.measure import Pairs, in_process
from tests.benchmarks.table import Figures
from tests.benchmarks.train_once import SIDES

SECTION = "Training"
OURS, FAIR = "ours", "trl, our order and allocator"
STEPS, BATCH, TIMES = 2, 8, 3
SETS = {"hh_helpful_test.jsonl": 192, "alpacaeval_gpt4_prefs.jsonl": 160}  # tokens at most
RUN = "import sys; from tests.benchmarks.train_once import main; main(*sys.argv[1:])"
GIVEN = ("DOGERM_TRAIN_BASE", "DOGERM_TRAIN_DATA")


@pytest.fixture(scope="module")
def places() -> list[Path]:
    """The base model, and the folder of pairs."""
    found = [Path(os.environ[name]).expanduser() for name in GIVEN if name in os.environ]
    if len(found) < len(GIVEN):
        pytest.skip(f"{' and '.join(GIVEN)} name no model and no pairs")
    return found


def once(side: str, places: list[Path], rows: str) -> dict[str, Any]:
    """What `train_once` prints."""
    base, data = places
    numbers = [str(number) for number in (SETS[rows], STEPS, BATCH)]
    child = in_process(RUN, side, base, data / rows, *numbers, cwd=Path(__file__).parents[2])
    found: dict[str, Any] = json.loads(child.output.splitlines()[-1])
    return found


@pytest.mark.parametrize("rows", SETS)
@pytest.mark.parametrize("peer", [side for side in SIDES if side not in (OURS, "trl as it comes")])
def test_pairs_per_second(peer: str, rows: str, places: list[Path], table: Figures) -> None:
    """In float32 on both sides; in the same order the losses of the steps are the same, too.

    Then the time to any loss is the time of the steps. By the processor's time, which other work
    on the machine disturbs less.
    """
    taken = [(once(OURS, places, rows), once(peer, places, rows)) for _ in range(TIMES)]
    if SIDES[peer] >= SIDES[FAIR] or "trl" not in SIDES[peer]:
        for ours, theirs in taken:
            assert ours["losses"] == pytest.approx(theirs["losses"], abs=1e-3)
    first, other = taken[0]
    note = (
        f"processor time of {STEPS} steps of {BATCH} pairs of at most {SETS[rows]} tokens; "
        f"positions {first['positions']:,} / {other['positions']:,}"
    )
    of = {
        key: Pairs([float(a[key]) for a, _ in taken], [float(b[key]) for _, b in taken], unit)
        for key, unit in (("cpu_seconds", "s"), ("peak_bytes", "bytes"))
    }
    speed, memory = of["cpu_seconds"].swapped, of["peak_bytes"]
    what = f"{rows.partition('.')[0]} | {peer}"
    bar = 1.5 if "trl" in SIDES[peer] else None
    table.add(
        SECTION, f"pairs per second, {what}", speed.ratio, bar, "at least", "×", note,
        pairs=speed, dtype="float32", detail={"runs": taken},
    )  # fmt: skip
    table.add(
        SECTION, f"peak memory, {what}", memory.ratio, 1.0 if bar else None, "at most", "×",
        "the whole process", pairs=memory, dtype="float32",
    )  # fmt: skip
