# SPDX-License-Identifier: Apache-2.0
"""Real rows for the scoring benchmarks, as lm-eval's requests and as token ids."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness.tasks
from harness.rows.conversation import Conversation, Message, messages_of, plain_text
from harness.training.generated import sums

TIE = 2  # Auto-J's label for it


@dataclass(frozen=True)
class Item:
    """A prompt and its candidate responses; of a pair, chosen and rejected."""

    prompt: str
    responses: list[str]

    @property
    def conversations(self) -> list[list[Message]]:
        """The whole conversation with each response."""
        prompt = messages_of(self.prompt)
        return [[*prompt, {"role": "assistant", "content": text}] for text in self.responses]


def read(folder: Path, name: str) -> list[Item]:
    """The items of a set, in the file's order.

    Args:
        folder: of the data files.
        name: ``dsp`` (an answer for each domain), ``llmbar``, ``hep`` or another beginning of a
            subset's name in rewardbench.jsonl, or the name of a file with pairs, candidates or
            Auto-J's columns (without its ties).
    """
    file = folder / f"{name}.jsonl"
    if name == "dsp":
        rows = json.loads((folder / "dsp.json").read_text(encoding="utf-8"))
        return [Item(row["query"], list(row["responses"].values())) for row in rows]
    if not file.exists():
        rows = _rows(folder / "rewardbench.jsonl")
        return [_item(row) for row in rows if row["subset"].startswith(name)]
    return [_item(row) for row in _rows(file) if row.get("label") != TIE]


def short(name: str, count: int = 300) -> list[Item]:
    """Items of a few words, of which a chat template is a large part: those that come with this.

    Args:
        name: ``minipref``, or ``sums``, on which the demo's maths model was trained.
        count: at most so many, evenly spaced.
    """
    if name == "minipref":
        file = Path(harness.tasks.__path__[0]) / "minipref" / "data.jsonl"
        items = [_item(row) for row in _rows(file)]
        return spread(items, min(count, len(items)))
    return [_item(row) for row in sums.pairs(count, seed=0)]


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of the items, evenly spaced."""
    return [items[at * len(items) // count] for at in range(count)]


def blocks(items: Sequence[Item], count: int, tokenizer: Any, size: int = 8) -> list[Item]:
    """`count` pairs in evenly spaced blocks of neighbours.

    Neighbours, because what padding costs a runner that does not sort depends on how alike they
    are; and of all such samples (they differ in where the first block starts) the one whose tokens
    per pair, shared and padded, are nearest to the whole set's.
    """
    number, every = count // size, len(items) // (count // size)
    encoded = encode(items, tokenizer)
    whole, share = Tokens.counted(encoded), number * size / len(items)

    def indices(first: int) -> list[int]:
        return [first + at * every + step for at in range(number) for step in range(size)]

    def off(first: int) -> float:
        tokens = Tokens.counted([encoded[index] for index in indices(first)])
        return sum(
            abs(math.log(part / (share * of)))
            for part, of in ((tokens.shared, whole.shared), (tokens.padded, whole.padded))
        )

    best = min(range(every - size + 1), key=off)
    return [items[index] for index in indices(best)]


def encode(items: Sequence[Item], tokenizer: Any) -> list[list[list[int]]]:
    """The token ids of each item's conversations."""
    return [
        [
            tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
            for messages in item.conversations
        ]
        for item in items
    ]


def requests(items: Sequence[Item]) -> list[Any]:
    """What an lm-eval task of this project asks of the model for them."""
    from lm_eval.api.instance import Instance

    made = []
    for number, item in enumerate(items):
        messages = messages_of(item.prompt)
        context = Conversation(plain_text(messages), messages)
        made += [
            Instance("loglikelihood", {}, (context, text), index, ("rows", number, 1))
            for index, text in enumerate(item.responses)
        ]
    return made


@dataclass(frozen=True)
class Tokens:
    """What scoring items computes at least, or in a simple way.

    Attributes:
        real: each conversation by itself, unpadded.
        shared: each item's common beginning once, and its conversations' endings.
        padded: pairs in two passes, chosen and then rejected, in batches of 8 in the file's order,
            each padded to its longest; 0 where an item is no pair.
        seen: for each token of `shared`, those that it sees, itself included.
    """

    real: int
    shared: int
    padded: int
    seen: int

    @classmethod
    def of(cls, items: Sequence[Item], tokenizer: Any) -> Tokens:
        """Count the items' conversations."""
        return cls.counted(encode(items, tokenizer))

    @classmethod
    def counted(cls, encoded: Sequence[Sequence[Sequence[int]]]) -> Tokens:
        """Count token ids: items, their conversations, ids."""
        real = shared = padded = seen = 0
        for rows in encoded:
            beginning = next(
                (at for at, ids in enumerate(zip(*rows, strict=False)) if len(set(ids)) > 1),
                min(map(len, rows)),
            )
            real += sum(map(len, rows))
            shared += beginning + sum(len(row) - beginning for row in rows)
            triangle = beginning * (beginning + 1) // 2
            seen += triangle
            seen += sum(len(row) * (len(row) + 1) // 2 - triangle for row in rows)
        if all(len(rows) == 2 for rows in encoded):
            for side in (0, 1):
                lengths = [len(rows[side]) for rows in encoded]
                batches = [lengths[at : at + 8] for at in range(0, len(lengths), 8)]
                padded += sum(len(batch) * max(batch) for batch in batches)
        return cls(real, shared, padded, seen)


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _item(row: dict[str, Any]) -> Item:
    if "responses" in row:
        return Item(row["prompt"], row["responses"])
    columns = ("chosen", "rejected") if "chosen" in row else ("response 1", "response 2")
    return Item(row["prompt"], [row[column] for column in columns])
