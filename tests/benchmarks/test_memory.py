# SPDX-License-Identifier: Apache-2.0
"""What memory 100,000 rows take: `lm_eval`'s own evaluator, a tiny reward model, generated rows.

The model is a layer of a few numbers, and a word is a token, so that what is measured is the host's
part: the rows, lm-eval's requests, tokens, answers, metrics. Every run is a process of its own, and
what it takes above the libraries and the model is its peak less that of a run over ten rows.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.measure import in_process
from tests.benchmarks.table import Figures

GB = 1e9
FEW, SOME, MANY = 10, 10_000, 100_000
WORDS = 30  # in each of three texts, of about 17 characters
YAML = """task: generated
class: !function harness.own_data.OwnPreferences
dataset_path: {}
"""
RUN = """
import json, sys
import lm_eval
import harness.tasks
from harness.models.reward import Reward
from lm_eval.tasks import TaskManager

model, folder, task = sys.argv[1:]
own = TaskManager(include_path=folder, include_defaults=False)
theirs = TaskManager(
    include_path=harness.tasks.__path__[0], include_defaults=False, metadata={"data_dir": folder}
)
lm = Reward(model, device="cpu", batch_size="auto")
found = lm_eval.simple_evaluate(
    lm,
    tasks=[task],
    task_manager=own if task == "generated" else theirs,
    log_samples=False,
    bootstrap_iters=0,
)
print(json.dumps({"rows": found["n-samples"][task]["effective"], "scored": lm.scored_rows}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model of one layer, and a tokenizer for which a word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", *words()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
    sizes: dict[str, Any] = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_labels": 1,
    }
    config = LlamaConfig(**sizes, vocab_size=len(vocabulary), num_attention_heads=1, pad_token_id=0)
    folder = tmp_path_factory.mktemp("model")
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def words() -> list[str]:
    """Two thousand words of 12 to 20 letters."""
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(chance.choices(letters, k=chance.randint(12, 20))) for _ in range(2000)]


def rows(count: int) -> Iterator[str]:
    """Lines of pairs, each of about 1.6 kB and different."""
    chance, known = random.Random(1), words()
    for number in range(count):
        names = ("prompt", "chosen", "rejected")
        texts = {name: " ".join(chance.choices(known, k=WORDS)) for name in names}
        row = {"id": number, **texts, "subset": "alpacaeval-easy"}
        yield json.dumps(row) + "\n"


def peak(model: Path, folder: Path, task: str, count: int) -> int:
    """The peak bytes of a run over so many rows, all of which are scored."""
    with (folder / "rewardbench.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(rows(count))
    (folder / "generated.yaml").write_text(YAML.format("rewardbench.jsonl"), encoding="utf-8")
    child = in_process(RUN, model, folder, task)
    found = json.loads(child.output.splitlines()[-1])
    assert found == {"rows": count, "scored": 2 * count}
    return child.peak_bytes


@pytest.mark.parametrize("task", ["generated", "rewardbench-alpacaeval-easy"])
def test_memory_of_many_rows(model: Path, tmp_path: Path, table: Figures, task: str) -> None:
    """A user's own file in full; a benchmark's rows, with fewer of them, by the slope."""
    most = MANY if task == "generated" else 2 * SOME
    few, some, many = (peak(model, tmp_path, task, count) for count in (FEW, SOME, most))
    slope = (many - some) / (most - SOME)
    size = (tmp_path / "rewardbench.jsonl").stat().st_size
    table.add(
        "Memory",
        f"{MANY:,} pairs of {size / most / 1e3:.1f} kB above the model, {task}",
        (many - few if most == MANY else some - few + slope * (MANY - SOME)) / GB,
        1.0,
        "at most",
        "GB",
        note=f"{slope:,.0f} bytes a pair from {SOME:,} to {most:,} pairs"
        + ("" if most == MANY else ", and from these the figure"),
        detail={"peak_bytes": {FEW: few, SOME: some, most: many}, "bytes_of_file": size},
    )
