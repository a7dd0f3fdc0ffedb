"""Preference pairs out of good answers alone: the rejected one is the same with a word exchanged.

A word (or a number) of the answer gives way to one that stands elsewhere in the same data, so the
rejected answer has the same length and style and only fits its prompt and its sentence worse.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

_WORD = re.compile(r"[A-Za-z]{4,}|\d+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def corrupted_pairs(
    rows: Iterable[dict[str, str]], seed: int, longest: int = 50, swaps: int = 1
) -> list[dict[str, str]]:
    """Pairs from rows of `prompt` and `chosen`; answers are cut to whole sentences.

    Args:
        rows: rows with `prompt` and `chosen`; of their other columns `domain` and `score` are kept.
        seed: fixes which words are exchanged.
        longest: the most words that are kept of an answer; a longer first sentence drops the row.
        swaps: how many words are exchanged.
    """
    rng = random.Random(f"corruption {seed}")
    kept = []
    for row in rows:
        answer = _opening(row["chosen"], longest)
        if answer and len(_WORD.findall(answer)) >= swaps + 2:
            kept.append((row, answer))
    words = sorted({w for _, answer in kept for w in _WORD.findall(answer) if w.isalpha()})
    made = []
    for row, answer in kept:
        pair = {"chosen": answer, "rejected": _swap(answer, words, swaps, rng)}
        asked = {key: row[key] for key in ("prompt", "domain", "score") if key in row}
        made.append(asked | pair)
    return made


def _opening(answer: str, longest: int) -> str:
    """The first sentences of an answer, as many as fit into `longest` words."""
    end = 0
    for match in _SENTENCE_END.finditer(answer):
        if len(answer[: match.start()].split()) > longest:
            break
        end = match.start()
    if len(answer.split()) <= longest:
        end = len(answer)
    return answer[:end].strip()


def _swap(answer: str, words: list[str], swaps: int, rng: random.Random) -> str:
    places = sorted(rng.sample(list(_WORD.finditer(answer)), swaps), key=lambda m: -m.start())
    for place in places:
        old = place.group()
        new = old
        while new.lower() == old.lower():
            new = _other_number(old, rng) if old.isdigit() else _like(old, rng.choice(words))
        answer = answer[: place.start()] + new + answer[place.end() :]
    return answer


def _other_number(old: str, rng: random.Random) -> str:
    return "".join(rng.choice("123456789") for _ in old)


def _like(old: str, new: str) -> str:
    """`new` with the capitals of `old`."""
    return new.capitalize() if old[0].isupper() else new.lower()
