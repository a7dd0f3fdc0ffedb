# SPDX-License-Identifier: Apache-2.0
"""Our side of the scoring benchmarks, and the sample of rows that both sides score.

Our side is what ``lm_eval --model reward --batch_size auto`` does with its requests, from texts to
rewards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import SmolLM2
from tests.benchmarks.rows import Item, blocks, read, spread

SECTION = "Scoring"
BFLOAT16, FLOAT32 = "bfloat16", "float32"
PAIRS, PROMPTS = 24, 6  # of the samples
SAMPLED = f"a sample: evenly spaced blocks of 8 neighbours, {PAIRS} pairs of each set"


def reward(folder: Path, dtype: str, **arguments: Any) -> Any:
    """The model that ``lm_eval --model reward`` makes."""
    from harness.models.reward import Reward

    given = {"pretrained": str(folder), "dtype": dtype, **arguments}
    return Reward.create_from_arg_obj(given, {"batch_size": "auto", "device": "cpu"})


def score(model: Any, asked: Sequence[Any]) -> list[float]:
    """The rewards of lm-eval's requests."""
    return [answer[0] for answer in model.loglikelihood(asked, disable_tqdm=True)]


@contextmanager
def computed(model: Any) -> Iterator[list[int]]:
    """The token positions of each batch that the body computes, padding included."""
    batches: list[int] = []
    embedding = model.model.get_input_embeddings()
    hook = embedding.register_forward_hook(
        lambda module, inputs, output: batches.append(output.shape[:-1].numel())
    )
    try:
        yield batches
    finally:
        hook.remove()


@contextmanager
def heads(model: Any) -> Iterator[list[int]]:
    """The positions of each batch that a language model's head computes."""
    positions: list[int] = []
    head = model.model.get_output_embeddings()
    hook = head.register_forward_hook(
        lambda module, inputs, output: positions.append(output.shape[:-1].numel())
    )
    try:
        yield positions
    finally:
        hook.remove()


@pytest.fixture(scope="session")
def counter(smollm2: SmolLM2, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The model with its first layer alone: batches are made by the real code, and cost little."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("one-layer")
    AutoModelForSequenceClassification.from_pretrained(
        smollm2.reward, num_hidden_layers=1
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm2.reward).save_pretrained(folder)
    return reward(folder, BFLOAT16)


@pytest.fixture(scope="session")
def ours(smollm2: SmolLM2) -> Any:
    """Our side in bfloat16."""
    return reward(smollm2.reward, BFLOAT16)


@pytest.fixture(scope="session")
def plain(smollm2: SmolLM2) -> Any:
    """transformers' side in bfloat16."""
    from tests.benchmarks.peers.scoring import Plain

    return Plain(smollm2.reward, BFLOAT16)


@pytest.fixture(scope="session")
def samples(data: Path, plain: Any) -> dict[str, list[Item]]:
    """A sample of pairs, and questions with 16 candidates."""
    questions = [item for item in read(data, "bon_humaneval") if len(item.responses) == 16]
    return {
        "llmbar": blocks(read(data, "llmbar"), PAIRS, plain.tokenizer),
        "hep": blocks(read(data, "hep"), PAIRS, plain.tokenizer),
        "bon_humaneval": spread(questions, PROMPTS),
    }
