"""Which prompts are held out: decided by the prompt's own hash, so never by luck or order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

Row = TypeVar("Row", bound=Mapping[str, str])


def is_held_out(prompt: str, share: float) -> bool:
    """True for about `share` of all prompts, and always the same answer for the same prompt.

    Blank space and capitals do not count, so near-copies of a prompt land on the same side.
    """
    return int.from_bytes(sha256(prompt_key(prompt).encode()).digest()[:8], "big") < share * 2**64


def prompt_key(prompt: str) -> str:
    """A prompt without the differences that do not make it another prompt."""
    return " ".join(prompt.lower().split())


def split_rows(rows: Sequence[Row], share: float) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows; no prompt is in both."""
    train = [row for row in rows if not is_held_out(row["prompt"], share)]
    return train, [row for row in rows if is_held_out(row["prompt"], share)]


def without_prompts(rows: Sequence[Row], others: Sequence[Mapping[str, str]]) -> list[Row]:
    """The rows whose prompt is in none of `others`."""
    taken = {prompt_key(row["prompt"]) for row in others}
    return [row for row in rows if prompt_key(row["prompt"]) not in taken]
