# SPDX-License-Identifier: Apache-2.0
"""The whole `mergekit-yaml` of a pair where size matters, and its peak memory; see `near_copy`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.near_copy import BARS, Pair, measure, ratios
from tests.benchmarks.table import Figures

SECTION = "Merging: where size matters"
ROUNDS = 5
NEEDED = {"1.1B": 10e9, "3B": 22e9}  # bytes of disk


@pytest.fixture(params=NEEDED)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Two models of one size, removed afterwards."""
    if shutil.disk_usage(tmp_path).free < NEEDED[request.param]:
        pytest.skip(f"{tmp_path} has less than {NEEDED[request.param] / 1e9:.0f} GB free")
    yield Pair(tmp_path, request.param)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_near_copy(pair: Pair, cache: str, table: Figures) -> None:
    """Time, processor time and peak memory; the output is the formula's, to the bit."""
    taken = measure(pair, ROUNDS, warm=cache == "warm")
    largest = f"largest tensor {pair.largest / 1e9:.2f} GB"
    for peer, bar in BARS.items():
        for kind, found in ratios(taken, peer).items():
            if peer == "copy" and kind == "peak memory":
                continue  # a copy needs none
            limit = {"time": bar, "peak memory": 1.0}.get(kind)
            note = f"whole command, imports included; {largest}"
            table.add(
                SECTION, f"{pair.size}, {cache}, against {peer}: {kind}", found.ratio, limit,
                "at most", "×", note, pairs=found, dtype="bfloat16",
            )  # fmt: skip
