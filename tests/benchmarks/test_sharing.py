# SPDX-License-Identifier: Apache-2.0
"""What sharing saves beyond a pair's prompt: the template of short rows, prompts of likelihoods."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import SmolLM2
from tests.benchmarks.measure import Pairs, alternate
from tests.benchmarks.rows import Item, Tokens, blocks, read, requests, short
from tests.benchmarks.scoring import (
    BFLOAT16,
    FLOAT32,
    SECTION,
    computed,
    counter,
    heads,
    reward,
    score,
)
from tests.benchmarks.table import Figures

__all__ = ["counter"]  # a fixture

# The first so many items; dsp has an answer for each of five domains.
SETS = {"gsm8k_pairs": 24, "dsp": 10}
PAIRS, RUNS = 8, 1  # of each set in float32: a minute of a processor that does nothing else
BATCH = 16  # rows of a pass of lm-eval's


@pytest.mark.parametrize("name", ["minipref", "sums"])
def test_short_rows(name: str, counter: Any, table: Figures) -> None:
    """What the chat template puts before all of them is computed once a pass."""
    items = short(name)
    tokens = Tokens.of(items, counter.tokenizer)
    with computed(counter) as batches:
        rewards = score(counter, requests(items))
    assert len(rewards) == sum(len(item.responses) for item in items)
    table.add(
        SECTION,
        f"tokens computed, {name}, {len(items)} pairs | each pair with a prompt of its own",
        sum(batches) / tokens.shared,
        0.8,
        "at most",
        "×",
        f"{sum(batches):,} / {tokens.shared:,} positions; each row alone {tokens.real:,}",
        detail={"batches": len(batches), "largest": max(batches)},
        dtype=BFLOAT16,
    )


@pytest.fixture(scope="module")
def policy(smollm2: SmolLM2, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow language model with one layer, its tokens SmolLM2's: what is counted is the same."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, set_seed

    out = tmp_path_factory.mktemp("one-layer-policy")
    narrow = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    set_seed(0)
    config = AutoConfig.from_pretrained(smollm2.maths, initializer_range=0.2, **narrow, **heads)
    AutoModelForCausalLM.from_config(config, dtype="float32").save_pretrained(out)
    AutoTokenizer.from_pretrained(smollm2.maths).save_pretrained(out)
    return out


def implicit(folder: Path, **arguments: Any) -> Any:
    """The model that ``lm_eval --model reward-implicit`` makes."""
    from harness.models.implicit import RewardImplicit

    given = {"pretrained": str(folder), "dtype": FLOAT32, **arguments}
    return RewardImplicit.create_from_arg_obj(given, {"batch_size": "auto", "device": "cpu"})


@pytest.mark.parametrize("name", SETS)
def test_implicit_rewards(name: str, data: Path, policy: Path, table: Figures) -> None:
    """Positions of body and head, with prompts shared and each row alone, by the same model."""
    items = read(data, name)[: SETS[name]]
    shared, alone = implicit(policy), implicit(policy, share_prefix=False)
    asked = requests(items)
    counted = {}
    for kind, model in (("shared", shared), ("alone", alone)):
        with computed(model) as body, heads(model) as head:
            counted[kind] = score(model, asked), sum(body), sum(head), len(body)
    (rewards, body_, head_, passes), (expected, before, before_, passes_) = (
        counted["shared"],
        counted["alone"],
    )
    _like(rewards, expected, 0.1 * 1e-5 * _longest(shared, asked))
    table.add(
        SECTION,
        f"tokens computed, reward-implicit, {name}, first {len(items)} | each row with its prompt",
        body_ / before,
        None,
        "at most",
        "×",
        f"{body_:,} in {passes} passes / {before:,} in {passes_}, padding included; the head "
        f"{head_:,} / {before_:,}; a reference model takes the same again",
        dtype=FLOAT32,
    )


@pytest.mark.parametrize("name", SETS)
def test_likelihoods(name: str, data: Path, policy: Path, table: Figures) -> None:
    """``--model hf`` on this project's tasks against lm-eval's own code, the same batch size."""
    from lm_eval.models.huggingface import HFLM

    items = read(data, name)[: SETS[name]]
    model = HFLM(str(policy), dtype=FLOAT32, device="cpu", batch_size=BATCH)
    asked = requests(items)
    with computed(model) as body, heads(model) as head:
        found = score(model, asked)
    encoded = [(one.args, *model._encode_pair(*one.args)) for one in asked]
    with computed(model) as before, heads(model) as before_head:
        own = HFLM._loglikelihood_tokens.__wrapped__(model, encoded, disable_tqdm=True)
    _like(found, [answer[0] for answer in own], 1e-5 * max(len(one[2]) for one in encoded))
    table.add(
        SECTION,
        f"tokens computed, hf, {name}, first {len(items)} | lm-eval's own code",
        sum(body) / sum(before),
        None,
        "at most",
        "×",
        f"{sum(body):,} / {sum(before):,}, batches of {BATCH} rows, padding and the trial of the "
        f"model included; the head {sum(head):,} / {sum(before_head):,}",
        dtype=FLOAT32,
    )


def _longest(model: Any, asked: Sequence[Any]) -> int:
    return max(len(row.ids) - row.start for row in map(model.encode, asked))


def _like(found: Sequence[float], expected: Sequence[float], tolerance: float) -> None:
    """1e-5 a token: a sum of more is off by more."""
    assert found == pytest.approx(expected, abs=tolerance)


def test_pairs_per_second_in_float32(smollm2: SmolLM2, data: Path, table: Figures) -> None:
    """What a processor without bfloat16 instructions computes in, in its own time."""
    from tests.benchmarks.peers.scoring import Plain

    ours, plain = reward(smollm2.reward, FLOAT32), Plain(smollm2.reward, FLOAT32)
    taken: list[Pairs] = []
    every: list[Item] = []
    for name in ("llmbar", "hep"):
        items = blocks(read(data, name), PAIRS, plain.tokenizer)
        every += items
        asked = requests(items)
        found: dict[str, list[float]] = {}

        def kept(side: str, run: Callable[[], list[float]], found: Any = found) -> None:
            found[side] = run()

        taken.append(
            alternate(
                partial(kept, "ours", partial(score, ours, asked)),
                partial(kept, "peer", partial(plain.two_passes, items)),
                RUNS,
                time.process_time,
                warm_up=False,
            )
        )
        _like(found["ours"], found["peer"], 1e-3)
    both = Pairs(
        [sum(pair) for pair in zip(*(one.ours for one in taken), strict=True)],
        [sum(pair) for pair in zip(*(one.peer for one in taken), strict=True)],
    ).swapped
    tokens = Tokens.of(every, plain.tokenizer)
    table.add(
        SECTION,
        "pairs per second, llmbar + hep | two unsorted passes, batch 8",
        both.ratio,
        2.0,
        "at least",
        "×",
        f"processor time, loading apart; {PAIRS} neighbours of each set, {RUNS} run of each; "
        f"tokens {tokens.shared:,} / {tokens.padded:,}",
        pairs=both,
        dtype=FLOAT32,
    )
