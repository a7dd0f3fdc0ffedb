# SPDX-License-Identifier: Apache-2.0
"""Four domains as adapters of one base, against four models: memory, disk, speed, a switch.

The base has SmolLM2-135M's sizes and random weights, the adapters rank 8 on all linear layers
(`dogerm train reward`'s defaults), and the four models are these adapters merged into it: rewards
are the same, so that what differs is how they are kept.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.benchmarks.measure import Pairs, alternate, in_process
from tests.benchmarks.rows import Item, requests
from tests.benchmarks.table import Figures
from tests.benchmarks.test_memory import words

SECTION = "Adapters of one base"
DOMAINS = ("chat", "maths", "code", "safety")
FLOAT32 = "float32"
PAIRS, WORDS = 12, 40
SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
}
LOAD = """
import json, sys
sys.path.insert(0, "")
from tests.benchmarks.rows import Item, requests
from tests.benchmarks.test_adapters import as_adapters, as_models

kind, base, places = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = as_adapters(base, places) if kind == "adapters" else as_models(places)
asked = requests([Item("one two", ["three", "four"])])
print(json.dumps([model.score_with(name, asked, True)[0].score for name in places]))
"""


class Made(NamedTuple):
    """The base, and each domain's adapter and model, by name."""

    base: Path
    adapters: dict[str, str]
    models: dict[str, str]


class ByTurns:
    """A router without a cost: one domain after the other."""

    kind = "by turns"
    labels = DOMAINS

    def probabilities(self, prompts: Sequence[Any]) -> list[list[float]]:
        """All of a prompt for one domain."""
        count = len(DOMAINS)
        return [[float(at % count == one) for one in range(count)] for at in range(len(prompts))]

    def identity(self) -> dict[str, str]:
        """It depends on nothing."""
        return {"kind": self.kind}


def as_adapters(base: Path | str, places: dict[str, str], **arguments: Any) -> Any:
    """``--model reward-adapters``."""
    from harness.models.adapters import RewardAdapters

    given = {"router": ByTurns(), "dtype": FLOAT32, "device": "cpu", "batch_size": "auto"}
    return RewardAdapters(str(base), adapters=places, **{**given, **arguments})


def as_models(places: dict[str, str]) -> Any:
    """``--model reward-router``."""
    from harness.models.router import RewardRouter

    return RewardRouter(places, router=ByTurns(), dtype=FLOAT32, device="cpu", batch_size="auto")


def alone(place: str) -> Any:
    """``--model reward``."""
    from harness.models.reward import Reward

    return Reward(place, dtype=FLOAT32, device="cpu", batch_size="auto")


def tokenizer() -> Any:
    """A word each; a turn is its role and its text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", *words()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    made.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Base, adapters and models on disk."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("adapters")
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SMOLLM2)).save_pretrained(folder / "base")
    words_alone = tokenizer()
    words_alone.save_pretrained(folder / "base")
    found = Made(folder / "base", {}, {})
    for name in DOMAINS:
        network = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=1)
        lora = LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", task_type="SEQ_CLS",
            init_lora_weights=False,
        )  # fmt: skip
        adapted = get_peft_model(network, lora)
        adapted.save_pretrained(folder / f"{name}-adapter")
        words_alone.save_pretrained(folder / f"{name}-adapter")
        merged = adapted.merge_and_unload()
        merged.config.num_labels = 1
        merged.save_pretrained(folder / f"{name}-model")
        words_alone.save_pretrained(folder / f"{name}-model")
        found.adapters[name] = str(folder / f"{name}-adapter")
        found.models[name] = str(folder / f"{name}-model")
    return found


@pytest.fixture(scope="module")
def ours(made: Made) -> Any:
    """All four adapters on the base; they can be mixed."""
    return as_adapters(made.base, made.adapters, mixed=True)


@pytest.fixture(scope="module")
def peers(made: Made) -> Any:
    """All four models."""
    return as_models(made.models)


@pytest.fixture(scope="module")
def asked() -> list[Any]:
    """Pairs of about three times `WORDS` tokens."""
    chance, known = random.Random(1), words()
    texts = [" ".join(chance.choices(known, k=WORDS)) for _ in range(3 * PAIRS)]
    return requests([Item(texts[at], texts[at + 1 : at + 3]) for at in range(0, 3 * PAIRS, 3)])


def size(*folders: Path | str) -> int:
    """The bytes of the files in some folders."""
    return sum(file.stat().st_size for one in folders for file in Path(one).iterdir())


def test_disk_and_parameters(made: Made, ours: Any, peers: Any, table: Figures) -> None:
    """What is kept: the base and four adapters, or four models."""
    disk = size(made.base, *made.adapters.values())
    peer = size(*made.models.values())
    info = ours.get_model_info()
    whole = peers.get_model_info()["model_num_parameters"]
    table.add(
        SECTION,
        f"disk, {len(DOMAINS)} domains | as many models",
        disk / peer,
        None,
        "at most",
        "×",
        f"an adapter {size(made.adapters[DOMAINS[0]]) / 1e6:.1f} MB, tokenizer included",
        pairs=Pairs([float(disk)], [float(peer)], "bytes"),
        dtype=FLOAT32,
    )
    count = info["model_num_parameters"]
    table.add(
        SECTION,
        f"parameters, {len(DOMAINS)} domains | as many models",
        count / whole,
        None,
        "at most",
        "×",
        f"{count:,} / {whole:,}; the base {info['base_num_parameters']:,}, an adapter "
        f"{info['members'][0]['model_num_parameters']:,}",
    )
    assert count < whole


def test_memory(made: Made, table: Figures) -> None:
    """The peak of a process that loads all four and scores with each."""
    children = {
        kind: in_process(LOAD, kind, made.base, json.dumps(places))
        for kind, places in (("adapters", made.adapters), ("models", made.models))
    }
    ours, peer = (json.loads(one.output.splitlines()[-1]) for one in children.values())
    assert ours == pytest.approx(peer, abs=1e-4)
    pairs = Pairs(*([float(one.peak_bytes)] for one in children.values()), "bytes")
    table.add(
        SECTION,
        f"memory of the process, {len(DOMAINS)} domains | as many models",
        pairs.ratio,
        None,
        "at most",
        "×",
        "libraries included, which both need",
        pairs=pairs,
        dtype=FLOAT32,
    )


def test_speed(ours: Any, peers: Any, asked: list[Any], table: Figures) -> None:
    """Rows of four domains in turn, against one model for all of them."""
    one = peers.pool.get(DOMAINS[0])
    one.loglikelihood(asked, True)
    expected = [answer[0] for answer in peers.loglikelihood(asked, True)]
    for what, mixed in (("grouped by expert", False), ("mixed batches", True)):
        ours.mixed = mixed
        found = [answer[0] for answer in ours.loglikelihood(asked, True)]
        assert found == pytest.approx(expected, abs=1e-4)
        pairs = alternate(
            partial(ours.loglikelihood, asked, True),
            partial(one.loglikelihood, asked, True),
            warm_up=False,
        ).swapped
        table.add(
            SECTION,
            f"pairs per second, routed to {len(DOMAINS)} adapters, {what} | one merged model",
            pairs.ratio,
            None,
            "at least",
            "×",
            f"{PAIRS / min(pairs.ours):.2f} pairs/s, fastest run; {PAIRS} pairs of 3 texts of "
            f"{WORDS} tokens; the router costs nothing here",
            pairs=pairs,
            dtype=FLOAT32,
        )


def test_a_switch(made: Made, ours: Any, table: Figures) -> None:
    """Making another adapter active, against loading another model."""
    turns = iter([f"the expert {name}" for name in DOMAINS[::-1]] * 9)
    places = iter(list(made.models.values()) * 9)
    switch = lambda: ours.reward.switch(next(turns))  # noqa: E731
    pairs = alternate(switch, lambda: alone(next(places)), pairs=3)
    table.add(
        SECTION,
        "a switch to another adapter | loading another model",
        pairs.ratio,
        None,
        "at most",
        "×",
        "the files in the page cache; reward-router pays the peer's with max_loaded=1",
        pairs=pairs,
        dtype=FLOAT32,
    )
