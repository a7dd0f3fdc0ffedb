# SPDX-License-Identifier: Apache-2.0
"""Different vocabularies: rows aligned by gather, beside mergekit's loop over them.

Takes 6 GB of memory and two minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.aligned import BYTES, OWN, TOKENS, WIDTH
from tests.benchmarks.measure import Child, Pairs, in_process
from tests.benchmarks.table import Figures

SECTION = "Merging: different vocabularies"
CASE = f"two models of {TOKENS:,} × {WIDTH:,}, {OWN:,} tokens of each only its own"
ROOT = Path(__file__).parents[2]


def aligned(*arguments: str) -> Child:
    """Run `tests.benchmarks.aligned`."""
    return in_process([sys.executable, "-m", "tests.benchmarks.aligned", *arguments], cwd=ROOT)


def test_equal() -> None:
    """The merged embeddings, to the bit."""
    assert json.loads(aligned("equal", "merge").output)


@pytest.mark.parametrize(("key", "what"), [("align", "align rows"), ("merge", "align and merge")])
def test_time(table: Figures, key: str, what: str) -> None:
    """The alignment by itself, and with the merge."""
    pairs = Pairs(**json.loads(aligned("time", key).output))
    table.add(
        SECTION, f"{what}, time by mergekit's loop", pairs.ratio, 0.5, "at most", "×", CASE,
        pairs=pairs, dtype="bfloat16",
    )  # fmt: skip


def test_memory(table: Figures) -> None:
    """Above a process that has imported the same and holds the vocabulary."""
    peaks = {side: aligned("memory", side).peak_bytes for side in ("neither", "ours", "peer")}
    least = 3 * BYTES  # both inputs and the output
    for side, bar in (("ours", 1.2), ("peer", None)):
        way = "mergekit's loop" if side == "peer" else "by gather"
        table.add(
            SECTION, f"align and merge rows, {way}: peak by bytes of inputs and output",
            (peaks[side] - peaks["neither"]) / least, bar, "at most", "×", CASE,
            detail=peaks, dtype="bfloat16",
        )  # fmt: skip
