# SPDX-License-Identifier: Apache-2.0
"""Scoring: tokens computed, and time beside others' ways."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.measure import Pairs, alternate
from tests.benchmarks.rows import Item, Tokens, read, requests
from tests.benchmarks.scoring import (
    BFLOAT16,
    PAIRS,
    SAMPLED,
    SECTION,
    computed,
    counter,
    ours,
    plain,
    samples,
    score,
)
from tests.benchmarks.table import Figures

__all__ = ["counter", "ours", "plain", "samples"]  # fixtures

# The first so many items; bon_humaneval has 164.
SETS = dict.fromkeys(("llmbar", "hep", "gsm8k_pairs", "autoj", "bon_gsm8k", "bon_humaneval"), 300)


@pytest.mark.parametrize("name", SETS)
def test_tokens_computed(name: str, data: Path, counter: Any, table: Figures) -> None:
    """Every row is computed; how many positions that takes."""
    items = read(data, name)[: SETS[name]]
    tokens = Tokens.of(items, counter.tokenizer)
    with computed(counter) as batches:
        rewards = score(counter, requests(items))
    assert len(rewards) == sum(len(item.responses) for item in items)
    table.add(
        SECTION,
        f"tokens computed, {name}, first {len(items)} | common beginnings once",
        sum(batches) / tokens.shared,
        1.05,
        "at most",
        "×",
        f"{sum(batches):,} / {tokens.shared:,} positions; each row alone {tokens.real:,}"
        + (f"; two padded passes {tokens.padded:,}" if tokens.padded else ""),
        detail={"batches": len(batches), "largest": max(batches)},
        dtype=BFLOAT16,
    )


def test_pairs_per_second(
    data: Path, ours: Any, plain: Any, samples: dict[str, list[Item]], table: Figures
) -> None:
    """Against two unsorted passes in batches of 8, padded to the longest."""
    taken = {}
    for name in ("llmbar", "hep"):
        items = samples[name]
        asked = requests(items)
        score(ours, asked[:8]), plain.two_passes(items[:4])
        taken[name] = alternate(
            partial(score, ours, asked),
            partial(plain.two_passes, items),
            warm_up=False,
        )
    both = Pairs(
        [sum(pair) for pair in zip(*(one.ours for one in taken.values()), strict=True)],
        [sum(pair) for pair in zip(*(one.peer for one in taken.values()), strict=True)],
    )
    notes = {name: token_note(data, name, samples[name], plain.tokenizer) for name in taken}
    tokens = Tokens.of([*samples["llmbar"], *samples["hep"]], plain.tokenizer)
    speeds = [
        f"{count / statistics.median(seconds):,.0f} tokens/s {whose}"
        for count, seconds, whose in (
            (tokens.shared, both.ours, "ours"),
            (tokens.padded, both.peer, "theirs, padding included"),
        )
    ]
    for what, pairs, count, bar, note in (
        ("llmbar + hep", both, 2 * PAIRS, 2.0, f"{', '.join(speeds)}; {SAMPLED}"),
        ("hep", taken["hep"], PAIRS, 2.5, notes["hep"]),
        ("llmbar", taken["llmbar"], PAIRS, None, notes["llmbar"]),
    ):
        faster = pairs.swapped
        table.add(
            SECTION,
            f"pairs per second, {what} | two unsorted passes, batch 8",
            faster.ratio,
            bar,
            "at least",
            "×",
            f"{count / statistics.median(pairs.ours):.2f} pairs/s; {note}",
            pairs=faster,
            dtype=BFLOAT16,
        )


def token_note(data: Path, name: str, sample: list[Item], tokenizer: Any) -> str:
    """How far the sample is like the whole set."""
    kinds = []
    for items in (sample, read(data, name)):
        tokens = Tokens.of(items, tokenizer)
        kinds.append(f"{tokens.padded / tokens.shared:.2f}")
    return f"padded tokens by shared ones: {kinds[0]} in the sample, {kinds[1]} in the whole set"


def test_best_of_16(ours: Any, plain: Any, samples: dict[str, list[Item]], table: Figures) -> None:
    """Against each candidate by itself."""
    items = samples["bon_humaneval"]
    asked = requests(items)
    score(ours, asked[:16]), plain.alone(items[:1])
    pairs = alternate(lambda: score(ours, asked), lambda: plain.alone(items), warm_up=False).swapped
    tokens = Tokens.of(items, plain.tokenizer)
    repeated = sum(len(item.responses) - len(set(item.responses)) for item in items)
    table.add(
        SECTION,
        "best of 16, bon_humaneval | each candidate alone",
        pairs.ratio,
        2.5,
        "at least",
        "×",
        f"{len(items)} evenly spaced questions; tokens alone by shared ones "
        f"{tokens.real / tokens.shared:.2f}; {repeated} of {len(asked)} candidates repeat another",
        pairs=pairs,
        dtype=BFLOAT16,
    )


def test_flops(
    ours: Any, plain: Any, counter: Any, samples: dict[str, list[Item]], table: Figures
) -> None:
    """Against nothing but the body's matrix products, of the same batches."""
    items = samples["hep"]
    asked = requests(items)
    with computed(ours) as batches, computed(counter) as counted:
        score(ours, asked), score(counter, asked)
    assert batches == counted, "the one-layer model is batched as the whole one"
    pairs = alternate(lambda: score(ours, asked), plain.products(batches))
    tokens = Tokens.of(items, plain.tokenizer)
    config = plain.model.config
    products = 2 * sum(batches) * sum(linear.weight.numel() for linear in plain.linears)
    width = config.num_attention_heads * config.head_dim
    attention = 4 * tokens.seen * width * config.num_hidden_layers
    seconds, bare = statistics.median(pairs.ours), statistics.median(pairs.peer)
    top = profile(ours, asked[:16])
    table.add(
        SECTION,
        "model FLOP/s, hep | bare matrix products of the same shapes",
        pairs.swapped.ratio,
        0.7,
        "at least",
        "×",
        f"{products / seconds / 1e9:.0f} of {products / bare / 1e9:.0f} GFLOP/s in products, and "
        f"{attention / seconds / 1e9:.1f} in attention; {len(batches)} batches of "
        f"{min(batches)} to {max(batches)} tokens; self time: "
        + ", ".join(f"{name.removeprefix('aten::')} {share:.0%}" for name, _, _, share in top[:5]),
        detail={"batches": batches, "profile (name, ms, calls, share)": top},
        pairs=pairs.swapped,
        dtype=BFLOAT16,
    )


def profile(model: Any, asked: Sequence[Any]) -> list[tuple[str, float, int, float]]:
    """The ten operations with the most self CPU time: name, milliseconds, calls, share."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    with profiled(activities=[ProfilerActivity.CPU]) as taken:
        score(model, asked)
    events = sorted(taken.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        (
            event.key,
            round(event.self_cpu_time_total / 1e3, 1),
            event.count,
            round(event.self_cpu_time_total / total, 3),
        )
        for event in events[:10]
    ]
